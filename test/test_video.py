"""Videos as phones, cameras and cutters write them: turned, cut, with times that are missing or out of order."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from alstm_ros.recordings.video import Video
from alstm_ros.types import SECOND, Image

FRAMES, RATE = 30, 10
ONE = 1 << 16


def picture(number: int) -> Image:
    """48 x 80 pixels; the upper left quarter is white, and a bar says which frame it is."""
    image = np.zeros((48, 80, 3), np.uint8)
    image[:24, :40] = 255
    image[36:, 40 : 41 + number] = 255
    return image


def write(path: Path, times: Callable[[int], int] = lambda number: number, *, codec: str = "libx264") -> Path:
    """A video of `FRAMES` frames at `RATE`, with B-frames."""
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 80, 48, "yuv420p"
        stream.options = {"bf": "2", "b_strategy": "0", "g": "12", "crf": "12"}
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(picture(number), format="bgr24")
            frame.pts, frame.time_base = times(number), Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def patched(path: Path, atom: bytes, offset: int, content: bytes) -> None:
    """Writes over a part of an MP4's atom; the offset counts from its name."""
    data = bytearray(path.read_bytes())
    place = data.index(atom) + offset
    data[place : place + len(content)] = content
    path.write_bytes(data)


def numbers(video: Video) -> list[int]:
    """Which pictures came, by their bars."""
    return [int((frame.image[42, 40:, 0] > 127).sum()) - 1 for _, frame in video]


def stamps(video: Video) -> list[float]:
    return [frame.stamp_ns / SECOND for _, frame in video]


QUARTERS: dict[str, tuple[tuple[int, int, int, int], Callable[[Image], Image]]] = {
    "upright": ((ONE, 0, 0, ONE), lambda image: image),
    "90 degrees": ((0, ONE, -ONE, 0), lambda image: np.rot90(image, -1)),
    "180 degrees": ((-ONE, 0, 0, -ONE), lambda image: np.rot90(image, 2)),
    "270 degrees": ((0, -ONE, ONE, 0), lambda image: np.rot90(image, 1)),
    "mirrored": ((-ONE, 0, 0, ONE), np.fliplr),
    "upside down": ((ONE, 0, 0, -ONE), np.flipud),
    "transposed": ((0, ONE, ONE, 0), lambda image: image.transpose(1, 0, 2)),
}


@pytest.mark.parametrize("kind", QUARTERS)
def test_a_display_matrix_is_followed(tmp_path: Path, kind: str) -> None:
    (a, b, c, d), turned = QUARTERS[kind]
    path = write(tmp_path / "phone.mp4")
    patched(path, b"tkhd", 44, struct.pack(">5i", a, b, 0, c, d))
    video = Video(path, 30)
    for number, (_, frame) in enumerate(video):
        want = turned(picture(number))
        assert frame.image.shape == want.shape
        assert frame.image.flags.c_contiguous
        assert np.abs(frame.image.astype(int) - want).mean() < 6
    assert video.problems == []


def test_a_tilted_video_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "tilted.mp4")
    patched(path, b"tkhd", 44, struct.pack(">5i", 56756, 32768, 0, -32768, 56756))  # 30 degrees
    video = Video(path, 30)
    assert len(list(video)) == FRAMES
    assert video.problems == ["tilted.mp4 is to be shown tilted, which is not done; it is turned by whole quarters."]


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".mp4", ".ts"])
def test_b_frames_come_in_order_and_at_their_times(tmp_path: Path, suffix: str, codec: str) -> None:
    video = Video(write(tmp_path / f"video{suffix}", codec=codec), 30)
    assert numbers(video) == list(range(FRAMES))
    assert np.allclose(np.diff(stamps(video)), 1 / RATE, atol=1e-3)
    assert video.problems == []


def test_an_avi_with_empty_chunks_is_not_short(tmp_path: Path) -> None:
    video = Video(write(tmp_path / "gaps.avi", lambda number: 2 * number), 30)
    assert numbers(video) == list(range(FRAMES))
    assert np.allclose(np.diff(stamps(video))[:-2], 2 / RATE)
    assert (np.diff(stamps(video)) > 0).all()
    assert video.length == FRAMES
    assert video.problems == []


def test_first_frames_without_a_time_come_before_those_with_one(tmp_path: Path) -> None:
    """Matroska holds no time before zero: what starts before has none."""
    path = tmp_path / "early.mkv"
    source = write(tmp_path / "video.mp4")
    with av.open(str(source)) as inside, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as outside:
        stream = outside.add_stream_from_template(inside.streams.video[0])
        for packet in inside.demux(inside.streams.video[0]):
            if packet.dts is not None:
                packet.pts -= round(1 / packet.time_base)
                packet.dts -= round(1 / packet.time_base)
                packet.stream = stream
                outside.mux(packet)
    with av.open(str(path)) as container:
        assert sum(frame.pts is None for frame in container.decode(video=0)) == RATE, "the file is what it should be"
    video = Video(path, 30)
    assert numbers(video) == list(range(FRAMES))
    assert np.allclose(stamps(video), np.arange(FRAMES) / RATE, atol=1e-3)
    assert video.problems == []


def test_what_an_edit_list_cuts_away_is_not_missed(tmp_path: Path) -> None:
    path = write(tmp_path / "cut.mp4")
    data = path.read_bytes()
    place = data.index(b"elst") + 12
    _, begin = struct.unpack(">Ii", data[place : place + 8])
    with av.open(str(path)) as container:
        step = round(1 / (RATE * container.streams.video[0].time_base))
    patched(path, b"elst", 12, struct.pack(">Ii", 1500, begin + 8 * step))
    video = Video(path, 30)
    assert numbers(video) == list(range(8, 23))
    assert np.allclose(stamps(video), np.arange(15) / RATE)
    assert video.length == 15
    assert video.problems == []


def test_a_cut_off_file_gives_every_whole_frame_and_tells(tmp_path: Path) -> None:
    path = write(tmp_path / "short.mp4")
    with av.open(str(path)) as container:
        entry = container.streams.video[0].index_entries[20]
    path.write_bytes(path.read_bytes()[: entry.pos + entry.size // 2])
    video = Video(path, 30)
    found = numbers(video)
    assert sorted(set(found)) == found
    assert found[:18] == list(range(18))
    [problem] = video.problems
    assert "frames could be read" in problem
    assert "Errno" not in problem


def test_a_damaged_frame_costs_no_other_packet(tmp_path: Path) -> None:
    path = write(tmp_path / "hurt.avi", codec="mpeg4")
    data = path.read_bytes()
    with av.open(str(path)) as container:
        entry = container.streams.video[0].index_entries[12]  # a key frame
        place = entry.pos + 8
    path.write_bytes(data[:place] + bytes(entry.size) + data[place + entry.size :])
    video = Video(path, 30)
    found = numbers(video)
    assert len(found) >= FRAMES - 2
    assert (np.diff(stamps(video)) > 0).all()
    assert video.problems


def test_times_that_fall_are_told_and_do_not_fall(tmp_path: Path) -> None:
    path = tmp_path / "joined.ts"
    once = write(tmp_path / "video.ts").read_bytes()
    path.write_bytes(once + once)  # as two recordings are joined with `cat`: the clock starts anew
    video = Video(path, 30)
    found = stamps(video)
    assert len(found) == 2 * FRAMES
    assert (np.diff(found) > 0).all()
    assert np.allclose(np.diff(found), 1 / RATE, atol=1e-3)
    assert video.problems == ["The clock of joined.ts starts anew once, as where files are joined; time goes on."]


def test_a_bare_stream_takes_the_rate_that_it_names(tmp_path: Path) -> None:
    video = Video(write(tmp_path / "bare.h264"), 5)
    assert numbers(video) == list(range(FRAMES))
    assert (np.diff(stamps(video)) > 0).all()


def test_a_time_that_is_out_of_order_is_told_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "hiccup.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 80, 48, "yuvj420p"
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(picture(number), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            for packet in stream.encode(frame):
                packet.dts = packet.pts = 0 if number == 0 else number - 2 if number == 12 else packet.pts
                packet.dts = number - FRAMES
                container.mux(packet)
    video = Video(path, 30)
    found = np.array(stamps(video))
    want = np.arange(FRAMES) / RATE
    want[12] = 1.15
    assert np.allclose(found - found[0], want, atol=1e-3)
    assert [text.partition(" frames")[0] for text in video.problems] == ["1"]

"""What a recording holds is read whole and in order; what is damaged is read as far as it goes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import recordings
from mcap.reader import make_reader
from recordings import join, scene, stamp, storage_file, write_bag
from rosbags.rosbag2 import StoragePlugin, Writer

from alstm_ros.errors import DataError
from alstm_ros.pipeline import Frame
from alstm_ros.recordings.bag import Bag
from alstm_ros.recordings.bag_images import BagImages
from alstm_ros.recordings.folder import ImageFolder
from alstm_ros.recordings.frames import FrameSource
from alstm_ros.recordings.interfaces import typestore
from alstm_ros.recordings.mot import read_sequence
from alstm_ros.recordings.natural_order import natural
from alstm_ros.recordings.sources import SourceOptions, Window, frame_range, open_source
from alstm_ros.recordings.video import Video
from alstm_ros.recordings.video_sink import VideoWriter


def numbers(source: FrameSource) -> list[int]:
    return [number for number, _ in source]


def check_frames(source: FrameSource, wanted: range) -> None:
    """Every wanted frame comes, in order, with its own picture and stamp; twice over."""
    for _ in range(2):
        got = list(source)
        assert [number for number, _ in got] == list(range(1, len(wanted) + 1))
        for (_, frame), original in zip(got, wanted, strict=True):
            assert isinstance(frame, Frame)
            assert frame.stamp_ns == stamp(original)
            assert frame.frame_id == "camera"
            np.testing.assert_array_equal(frame.image, scene(original))
        assert source.problems == []
    assert source.length == len(wanted)


KINDS = [
    ("mcap", ""),
    ("mcap", "file"),
    ("mcap", "chunk"),
    ("sqlite3", ""),
    ("sqlite3", "file"),
    ("sqlite3", "message"),
]


@pytest.mark.parametrize("compressed", [False, True], ids=["raw", "compressed"])
@pytest.mark.parametrize(("storage", "compression"), KINDS)
def test_every_storage_gives_the_same_frames(
    tmp_path: Path, storage: str, compression: str, *, compressed: bool
) -> None:
    bag = write_bag(tmp_path / "bag", range(1, 8), storage=storage, compression=compression, compressed=compressed)
    check_frames(open_source(bag), range(1, 8))
    check_frames(open_source(storage_file(bag)), range(1, 8))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("compression", ["", "file"])
@pytest.mark.parametrize("metadata", [True, False], ids=["finished", "no metadata"])
def test_split_bag_is_read_in_order(tmp_path: Path, storage: str, compression: str, *, metadata: bool) -> None:
    parts = [
        write_bag(tmp_path / str(i), range(1 + 4 * i, 5 + 4 * i), storage=storage, compression=compression)
        for i in range(3)
    ]
    bag = join(parts, tmp_path / "split")
    if metadata:
        check_frames(open_source(bag), range(1, 13))
        return
    (bag / "metadata.yaml").unlink()
    source = open_source(bag)
    assert [frame.stamp_ns for _, frame in source] == [stamp(number) for number in range(1, 13)]
    assert len(source.problems) == 1
    assert "metadata.yaml" in source.problems[0]


def test_topic_is_found_or_asked_for(tmp_path: Path) -> None:
    two = write_bag(tmp_path / "two", [1, 2], topics=["/front", "/rear"])
    with pytest.raises(DataError, match="holds 2 image topics; name one of /front, /rear"):
        open_source(two)
    with pytest.raises(DataError, match="no image topic '/left'; its image topics are /front, /rear"):
        open_source(two, SourceOptions(topic="/left"))
    check_frames(open_source(two, SourceOptions(topic="/rear")), range(1, 3))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_cut_off_file_gives_its_beginning(tmp_path: Path, storage: str) -> None:
    file = storage_file(write_bag(tmp_path / "bag", range(1, 301), storage=storage))
    content = file.read_bytes()
    assert len(content) > 3_000_000
    file.write_bytes(content[: int(len(content) * 0.7)])
    source = open_source(file)
    got = list(source)
    assert [number for number, _ in got] == list(range(1, len(got) + 1))
    assert 100 < len(got) < 290
    for number, frame in got:
        assert isinstance(frame, Frame)
        np.testing.assert_array_equal(frame.image, scene(number))
    assert source.problems


def test_damaged_chunk_is_left_out_and_the_rest_read(tmp_path: Path) -> None:
    file = storage_file(write_bag(tmp_path / "bag", range(1, 301), compression="chunk"))
    with file.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    [_, second, *_] = sorted(summary.chunk_indexes, key=lambda chunk: chunk.chunk_start_offset)
    content = bytearray(file.read_bytes())
    start = second.chunk_start_offset + 60  # past the record's head, in the packed messages
    content[start : start + 40] = b"\xff" * 40
    file.write_bytes(content)
    source = open_source(file)
    got = [frame.stamp_ns for _, frame in source]
    assert got == sorted(got)
    assert {stamp(1), stamp(300)} <= set(got)
    assert 100 < len(got) < 280
    assert any("chunk" in problem for problem in source.problems), source.problems


def test_missing_file_of_a_split_bag_is_told(tmp_path: Path) -> None:
    parts = [write_bag(tmp_path / str(i), range(1 + 4 * i, 5 + 4 * i)) for i in range(3)]
    bag = join(parts, tmp_path / "split")
    (bag / "split_10.mcap").unlink()
    source = open_source(bag)
    assert [frame.stamp_ns for _, frame in source] == [stamp(number) for number in (1, 2, 3, 4, 9, 10, 11, 12)]
    assert source.problems == ["split_10.mcap, which metadata.yaml lists, is missing."]


def test_damaged_image_is_left_out_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = recordings.image_message

    def broken(picture: np.ndarray, stamp_ns: int) -> object:
        message = whole(picture, stamp_ns)
        if stamp_ns == stamp(3):
            message.data = message.data[:100]
        return message

    monkeypatch.setattr(recordings, "image_message", broken)
    source = open_source(write_bag(tmp_path / "bag", range(1, 6)))
    assert numbers(source) == [1, 2, 4, 5]
    assert len(source.problems) == 1
    assert "1 image on /camera/image_raw left out" in source.problems[0]


def test_unset_stamp_becomes_the_time_of_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = recordings.image_message
    monkeypatch.setattr(recordings, "image_message", lambda picture, _: whole(picture, 0))
    source = open_source(write_bag(tmp_path / "bag", [1, 2]))
    assert [frame.stamp_ns for _, frame in source] == [stamp(1) + 5_000_000, stamp(2) + 5_000_000]


def test_what_is_no_bag_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "noise.mcap").write_bytes(b"no bag at all")
    (tmp_path / "noise.db3").write_bytes(b"no bag at all")
    (tmp_path / "noise.mp4").write_bytes(b"no video at all")
    for name, said in [
        ("nothing", "nothing at"),
        ("empty", "neither a bag"),
        ("noise.mcap", "cannot be read"),
        ("noise.db3", "cannot be read"),
        ("noise.mp4", "no video"),
    ]:
        with pytest.raises(DataError, match=said):
            open_source(tmp_path / name)


def test_only_other_topics(tmp_path: Path) -> None:
    store = typestore()
    path = tmp_path / "bag"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/chatter", "std_msgs/msg/String", typestore=store)
        text = store.types["std_msgs/msg/String"](data="hello")
        writer.write(connection, 1, store.serialize_cdr(text, "std_msgs/msg/String"))
    with pytest.raises(DataError, match=r"no image topic, only /chatter \(std_msgs/msg/String\)"):
        BagImages(path)
    assert [topic.count for topic in Bag(path).topics] == [1]


def test_folder_in_natural_order(tmp_path: Path) -> None:
    for number in (1, 2, 10, 11):
        cv2.imwrite(str(tmp_path / f"f{number}.png"), scene(number))
    (tmp_path / "f3.jpg").write_bytes(b"no image")
    source = open_source(tmp_path, SourceOptions(fps=20))
    assert isinstance(source, ImageFolder)
    got = list(source)
    assert [number for number, _ in got] == [1, 2, 4, 5]
    assert [frame.stamp_ns for _, frame in got] == [0, 50_000_000, 150_000_000, 200_000_000]
    np.testing.assert_array_equal(got[2][1].image, scene(10))
    assert source.problems == ["f3.jpg is left out: The file is no image that can be decoded."]
    assert sorted(["f10", "f9", "f", "f1b"], key=natural) == ["f", "f1b", "f9", "f10"]


def test_video_keeps_times(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    writer = VideoWriter(path)
    stamps = [5 * recordings.SECOND + ms * 1_000_000 for ms in (0, 100, 200, 700, 800)]  # frames dropped in between
    for number, stamp_ns in enumerate(stamps, 1):
        writer.write(scene(number), stamp_ns)
    writer.close()
    source = open_source(path)
    assert isinstance(source, Video)
    got = list(source)
    assert source.length == len(got) == len(stamps)
    for (number, frame), stamp_ns in zip(got, stamps, strict=True):
        assert isinstance(frame, Frame)
        assert abs(frame.stamp_ns - (stamp_ns - stamps[0])) < 50_000
        assert np.abs(frame.image.astype(int) - scene(number)).mean() < 8  # H.264 is lossy
    assert source.problems == []


def test_cut_off_video_gives_its_beginning(tmp_path: Path) -> None:
    import av

    path = tmp_path / "v.mkv"
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(50):
            noise = rng.integers(0, 255, (64, 96, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="bgr24")))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    got = numbers(open_source(path))
    assert got == list(range(1, len(got) + 1))
    assert 10 < len(got) < 50


@pytest.mark.parametrize(
    ("text", "length", "wanted"),
    [("3-5", 9, (3, 5)), ("7-", 9, (7, 9)), ("-4", 9, (1, 4)), ("first-half", 9, (1, 4)), ("second-half", 9, (5, 9))],
)
def test_frame_ranges(text: str, length: int, wanted: tuple[int, int]) -> None:
    assert frame_range(text, length) == wanted


@pytest.mark.parametrize("text", ["", "-", "5", "a-b", "1-2-3", "1.5-2"])
def test_refused_frame_ranges(text: str) -> None:
    with pytest.raises(DataError, match="--frames"):
        frame_range(text, 9)


def test_window_keeps_numbers(tmp_path: Path) -> None:
    window = Window(open_source(write_bag(tmp_path / "bag", range(1, 10))), "4-6")
    assert numbers(window) == [4, 5, 6]
    assert window.length == 3


@pytest.mark.parametrize("name", ["../../X", "/etc/X", "..", "a\\b", "x" * 300])
def test_a_sequence_s_name_is_no_path(tmp_path: Path, name: str) -> None:
    path = tmp_path / "seqinfo.ini"
    path.write_text(f"[Sequence]\nname={name}\nframeRate=30\n")
    with pytest.raises(DataError, match="a name is no path"):
        read_sequence(path)

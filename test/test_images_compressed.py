"""JPEG and PNG as cameras and compressed_image_transport send them."""

from __future__ import annotations

import os
import struct
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from imaging import encode, expected, picture
from numpy.typing import NDArray

from alstm_ros.errors import ImageError
from alstm_ros.images import decode_compressed, decode_file
from alstm_ros.types import Image

IMAGE = picture(48, 64)


def pack(suffix: str, image: NDArray[Any] = IMAGE) -> bytes:
    done, data = cv2.imencode(suffix, image)
    assert done
    return bytes(data.tobytes())


JPEG, PNG = pack(".jpg"), pack(".png")


def mean_error(a: Image, b: Image) -> float:
    assert a.shape == b.shape
    assert a.dtype == np.uint8
    return float(np.abs(a.astype(int) - b).mean())


@pytest.mark.parametrize(
    "layout", ["jpeg", "jpg", "rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed bgr8", "png", ""]
)
def test_a_jpeg_is_told_by_its_content(layout: str) -> None:
    assert mean_error(decode_compressed(JPEG, layout), IMAGE) < 2


@pytest.mark.parametrize("layout", ["png", "rgb8; png compressed bgr8", "rgb8; png compressed ", "jpeg"])
def test_a_png_loses_nothing(layout: str) -> None:
    assert np.array_equal(decode_compressed(PNG, layout), IMAGE)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_red_and_blue_swapped_before_compressing(suffix: str) -> None:
    swapped = pack(suffix, np.ascontiguousarray(IMAGE[..., ::-1]))
    assert mean_error(decode_compressed(swapped, f"rgb8; {suffix[1:]} compressed rgb8"), IMAGE) < 2


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_grey_file(suffix: str) -> None:
    wanted = expected(IMAGE, "mono8")
    for layout in (suffix[1:], f"mono8; {suffix[1:]} compressed "):
        assert mean_error(decode_compressed(pack(suffix, wanted[..., 0]), layout), wanted) < 2


def test_sixteen_bits_are_cut_to_the_upper_eight() -> None:
    wide = IMAGE.astype(np.uint16) << 8 | 0xEE
    assert np.array_equal(decode_compressed(pack(".png", wide), "rgb16; png compressed bgr16"), IMAGE)
    grey = wide[..., 1]
    wanted = np.repeat(IMAGE[..., 1:2], 3, axis=2)
    assert np.array_equal(decode_compressed(pack(".png", grey), "mono16; png compressed "), wanted)


def test_alpha_is_dropped() -> None:
    transparent = np.dstack([IMAGE, np.zeros(IMAGE.shape[:2], np.uint8)])
    assert np.array_equal(decode_compressed(pack(".png", transparent), "bgra8; png compressed bgra8"), IMAGE)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_mosaic_in_a_grey_file(pattern: str, depth: int) -> None:
    data, _ = encode(IMAGE, f"bayer_{pattern}{depth}")
    mosaic = np.frombuffer(data, f"<u{depth // 8}").reshape(IMAGE.shape[:2])
    decoded = decode_compressed(pack(".png", mosaic), f"bayer_{pattern}{depth}; png compressed ")
    assert mean_error(decoded, IMAGE) < 1


def test_a_camera_that_debayered_before_compressing() -> None:
    assert np.array_equal(decode_compressed(PNG, "bayer_rggb8; png compressed bgr8"), IMAGE)


def test_an_orientation_is_not_applied() -> None:
    # Exif says "turn by 90 degrees"; boxes are in the pixels that were sent, so the picture stays as it lies.
    tiff = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + tiff
    turned = JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + JPEG[2:]
    obeyed = np.asarray(cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR))
    assert obeyed.shape == (64, 48, 3), "the test's own Exif"
    assert np.array_equal(decode_compressed(turned, "jpeg"), decode_compressed(JPEG, "jpeg"))


def test_bytes_after_the_end_do_no_harm() -> None:
    # UVC cameras fill their buffers up.
    assert np.array_equal(decode_compressed(JPEG + bytes(500), "jpeg"), decode_compressed(JPEG, "jpeg"))


def test_motion_jpeg_without_its_tables() -> None:
    # Cameras leave the Huffman tables out where they are the standard's own, as those of OpenCV's encoder are.
    kept, at = bytearray(JPEG[:2]), 2
    while True:
        end = at + 2 + int.from_bytes(JPEG[at + 2 : at + 4], "big")
        if JPEG[at + 1] != 0xC4:
            kept += JPEG[at:end]
        if JPEG[at + 1] == 0xDA:  # the scan follows
            break
        at = end
    assert len(kept) < end
    assert np.array_equal(decode_compressed(kept + JPEG[end:], "jpeg"), decode_compressed(JPEG, "jpeg"))


@given(cut=st.integers(0, len(JPEG) - 1))
def test_a_jpeg_cut_anywhere_is_damaged(cut: int) -> None:
    with pytest.raises(ImageError, match="is damaged") as caught:
        decode_compressed(JPEG[:cut], "jpeg")
    assert caught.value.cause == "damaged jpeg"


@given(cut=st.integers(0, len(PNG) - 1))
def test_a_png_cut_anywhere_is_damaged(cut: int) -> None:
    with pytest.raises(ImageError, match="is damaged") as caught:
        decode_compressed(PNG[:cut], "rgb8; png compressed bgr8")
    assert caught.value.cause == "damaged png"


@given(
    at=st.integers(0, len(JPEG) - 1),
    value=st.integers(0, 255),
    layout=st.sampled_from(["jpeg", "", "bayer_rggb8; jpeg"]),
)
def test_a_changed_byte_gives_a_picture_or_a_sentence(at: int, value: int, layout: str) -> None:
    data = bytearray(JPEG)
    data[at] = value
    with suppress(ImageError):
        assert decode_compressed(data, layout).shape[2] == 3


@pytest.mark.parametrize(
    ("data", "layout"),
    [
        (struct.pack("<iff", 0, 0.0, 0.0) + PNG, "16UC1; compressedDepth png"),
        (b"\0\0\0\1\x67\x42", "h264"),
        (b"anything", ""),
        (b"", ""),
    ],
)
def test_what_is_neither_jpeg_nor_png(data: bytes, layout: str) -> None:
    with pytest.raises(ImageError, match="it must be JPEG, PNG or TIFF") as caught:
        decode_compressed(data, layout)
    assert caught.value.cause == "unknown compressed format"


def test_a_png_that_claims_a_bomb_is_refused_before_it_is_unpacked() -> None:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 2**30, 2**30, 8, 2, 0, 0, 0)
    data = PNG[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + PNG[33:]
    with pytest.raises(ImageError, match="at most 50000000 pixels are taken") as caught:
        decode_compressed(data, "png")
    assert caught.value.cause == "image too large"


def claiming(height: int, width: int, data: bytes = JPEG) -> bytes:
    """The JPEG with another size in its frame header."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


@pytest.mark.parametrize("decoder", [decode_file, lambda data: decode_compressed(data, "jpeg")])
def test_a_jpeg_that_claims_a_bomb_is_refused_before_it_is_unpacked(decoder: Callable[[bytes], Image]) -> None:
    tracemalloc.start()
    with pytest.raises(ImageError, match="The image is 16300x65500 pixels"):
        decoder(claiming(65500, 16300))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(("limit", "taken"), [(48 * 64, True), (48 * 64 - 1, False)])
@pytest.mark.parametrize("data", [JPEG, PNG])
def test_the_limit_is_the_number_of_pixels(data: bytes, limit: int, *, taken: bool) -> None:
    assert taken == (refusal(data, limit) == "")


def refusal(data: bytes, max_pixels: int = 1_000_000) -> str:
    """Why the image is refused; empty where it is taken."""
    try:
        decode_compressed(data, "jpeg", max_pixels)
    except ImageError as error:
        return str(error)
    return ""


def test_a_jpeg_of_many_scans_is_refused_where_it_is_more_work_than_the_largest_image() -> None:
    done, encoded = cv2.imencode(".jpg", IMAGE, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert done
    data = bytes(encoded.tobytes())
    assert refusal(data, 48 * 64) == ""
    start, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    many = data[:end] + data[start:end] * 20 + data[end:]
    assert "scans, which is more work" in refusal(many, 48 * 64)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_jpeg_with_missing_data_and_an_end_marker_is_damaged(share: float, capfd: pytest.CaptureFixture[str]) -> None:
    cut = JPEG[: JPEG.index(b"\xff\xda") + 14 + round(share * (len(JPEG) - JPEG.index(b"\xff\xda") - 20))]
    for _ in range(3):
        assert "premature end of data" in refusal(cut + b"\xff\xd9")
        assert "Corrupt JPEG data" in refusal(cut + bytes(5000) + b"\xff\xd9")
    os.write(2, b"a line of somebody else's\n")
    assert capfd.readouterr().err == "a line of somebody else's\n"  # the decoders' own lines reach nobody


def test_a_few_bytes_before_the_end_marker_are_a_cameras_padding() -> None:
    padded = JPEG[:-2] + bytes(3) + JPEG[-2:]
    assert np.array_equal(decode_compressed(padded, "jpeg"), decode_compressed(JPEG, "jpeg"))


def test_a_second_picture_behind_the_first_does_not_matter() -> None:
    assert np.array_equal(decode_compressed(JPEG + JPEG[:-40], "jpeg"), decode_compressed(JPEG, "jpeg"))


def test_what_others_write_while_a_picture_is_decoded_reaches_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    written, stop = 0, threading.Event()

    def write() -> None:
        nonlocal written
        while not stop.is_set():
            os.write(2, b"other\n")
            written += 1

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(200):
        decode_compressed(JPEG, "jpeg")
    stop.set()
    writer.join()
    assert capfd.readouterr().err.count("other\n") == written


def test_files_of_other_formats_are_decoded_and_turned() -> None:
    assert np.array_equal(decode_file(pack(".bmp")), IMAGE)
    assert np.array_equal(decode_file(PNG), IMAGE)
    with pytest.raises(ImageError, match="no image that can be decoded"):
        decode_file(b"")

"""Raw images of every encoding, size, padding and byte order."""

from __future__ import annotations

from array import array
from contextlib import suppress
from random import Random

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from imaging import PADDING, encode, expected, grey, picture, tolerance

from alstm_ros.errors import ImageError
from alstm_ros.images import ENCODINGS, decode
from alstm_ros.types import Image

SIZES = st.integers(1, 40)
SEMI_PLANAR = ("nv12", "nv21", "nv24")


def worst(a: Image, b: Image) -> int:
    assert a.shape == b.shape
    assert a.dtype == b.dtype == np.uint8
    return int(np.abs(a.astype(int) - b).max())


def smallest(encoding: str) -> int:
    return 3 if encoding.startswith("bayer") else 1


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(height=SIZES, width=SIZES, padding=st.sampled_from((0, 1, 2, 31)), big_endian=st.booleans())
@example(height=3, width=3, padding=0, big_endian=False)
@example(height=1, width=1, padding=1, big_endian=True)
def test_a_picture_survives(encoding: str, height: int, width: int, padding: int, big_endian: bool) -> None:  # noqa: FBT001  # drawn
    height, width = max(height, smallest(encoding)), max(width, smallest(encoding))
    image = picture(height, width)
    if encoding in {"nv12", "nv21"}:
        padding += width % 2  # chroma comes in pairs of bytes, for two columns each
    data, step = encode(image, encoding, padding, big_endian=big_endian)
    decoded = decode(data, encoding, height, width, step, big_endian)
    assert worst(decoded, expected(image, encoding)) <= tolerance(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(colour=st.tuples(*[st.integers(0, 255)] * 3))
def test_a_colour_survives(encoding: str, colour: tuple[int, int, int]) -> None:
    image = np.full((6, 8, 3), colour, np.uint8)
    data, step = encode(image, encoding)
    assert worst(decode(data, encoding, 6, 8, step), expected(image, encoding)) <= min(tolerance(encoding), 2)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(padding=st.integers(1, 9), big_endian=st.booleans(), random=st.randoms(use_true_random=False))
def test_padding_says_nothing(encoding: str, padding: int, big_endian: bool, random: Random) -> None:  # noqa: FBT001  # drawn
    image = picture(6, 8)
    dense, dense_step = encode(image, encoding, big_endian=big_endian)
    padded, step = encode(image, encoding, padding, big_endian=big_endian)
    noisy = bytes(random.randrange(256) if byte == PADDING else byte for byte in padded)
    kept = decode(dense, encoding, 6, 8, dense_step, big_endian)
    if PADDING not in dense:
        assert np.array_equal(decode(noisy, encoding, 6, 8, step, big_endian), kept)
    assert np.array_equal(decode(padded, encoding, 6, 8, step, big_endian), kept)
    last = padding * (2 if encoding == "nv24" else 1)
    assert np.array_equal(decode(padded[:-last], encoding, 6, 8, step, big_endian), kept)
    assert np.array_equal(decode(padded + b"more", encoding, 6, 8, step, big_endian), kept)


@pytest.mark.parametrize("encoding", ["bgr8", "8UC3"])
def test_bgr_is_not_copied(encoding: str) -> None:
    data, step = encode(picture(5, 7), encoding, 4)
    message = array("B", data)
    decoded = decode(message, encoding, 5, 7, step)
    assert np.shares_memory(decoded, np.frombuffer(message, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        decoded[0, 0, 0] = 1


@given(y=st.integers(0, 255), u=st.integers(0, 255), v=st.integers(0, 255))
def test_yuv_is_bt601_of_limited_range(y: int, u: int, v: int) -> None:
    # ITU-R BT.601: black is 16, white 235, chroma 16..240 around 128.
    luma, blue, red = (max(y, 16) - 16) / 219, (u - 128) / 224 * 1.772, (v - 128) / 224 * 1.402
    green = -(0.114 * blue + 0.299 * red) / 0.587
    bgr = np.clip(np.array([luma + blue, luma + green, luma + red]) * 255, 0, 255)
    layouts = {
        "uyvy": [u, y, v, y] * 2,
        "yuyv": [y, u, y, v] * 2,
        "nv12": [y] * 4 + [u, v],
        "nv21": [y] * 4 + [v, u],
        "nv24": [y] * 4 + [u, v] * 4,
    }
    for encoding, values in layouts.items():
        decoded = decode(bytes(values), encoding, 2, 2, 4 if encoding in {"uyvy", "yuyv"} else 2)
        assert np.abs(decoded - bgr).max() <= 1.5, encoding


@given(height=st.integers(1, 12), width=st.integers(1, 12), seed=st.integers(0, 99))
def test_nv24_has_nv12s_arithmetic(height: int, width: int, seed: int) -> None:
    # The same chroma for every 2x2 pixels: both must give the same picture, to the bit.
    rng = np.random.default_rng(seed)
    luma = rng.integers(0, 256, (2 * height, 2 * width), np.uint8)
    chroma = rng.integers(0, 256, (height, width, 2), np.uint8)
    nv12 = luma.tobytes() + chroma.tobytes()
    nv24 = luma.tobytes() + chroma.repeat(2, axis=0).repeat(2, axis=1).tobytes()
    size = (2 * height, 2 * width, 2 * width)
    assert np.array_equal(decode(nv24, "nv24", *size), decode(nv12, "nv12", *size))


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_keeps_what_was_measured(pattern: str) -> None:
    # Interpolation leaves the measured values alone, so each must stand in its own channel, where its letter says.
    image = np.random.default_rng(1).integers(0, 256, (12, 14, 3), np.uint8)
    data, step = encode(image, f"bayer_{pattern}8")
    decoded = decode(data, f"bayer_{pattern}8", 12, 14, step)
    inner = np.s_[2:-2, 2:-2]
    for index, letter in enumerate(pattern):
        at = np.s_[index // 2 :: 2, index % 2 :: 2, "bgr".index(letter)]
        assert np.array_equal(decoded[inner][at], image[inner][at]), letter


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if name.endswith("16") or name.startswith("16")])
def test_sixteen_bits_are_cut_to_the_upper_eight(encoding: str) -> None:
    for is_bigendian, pair in ((0, b"\xff\x12"), (1, b"\x12\xff")):
        decoded = decode(pair * 4 * 16, encoding, 4, 4, 32, is_bigendian)
        assert (decoded == 0x12).all()


def test_alpha_is_dropped_and_orders_differ() -> None:
    pixel = bytes([10, 20, 30, 0])
    assert decode(pixel, "bgra8", 1, 1, 4).ravel().tolist() == [10, 20, 30]
    assert decode(pixel, "rgba8", 1, 1, 4).ravel().tolist() == [30, 20, 10]


@pytest.mark.parametrize("encoding", SEMI_PLANAR)
@pytest.mark.parametrize("padding", [0, 4])
def test_a_step_that_counts_both_planes(encoding: str, padding: int) -> None:
    # Some drivers divide the data's size by the height, as sensor_msgs/Image's own comment on `data` has it.
    image = picture(6, 8)
    data, _ = encode(image, encoding, padding)
    decoded = decode(data, encoding, 6, 8, len(data) // 6)
    assert worst(decoded, image) <= tolerance(encoding)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: array("B", data)])
def test_any_buffer_will_do(kind: type[bytes]) -> None:
    image = picture(4, 6)
    data, step = encode(image, "rgb8")
    assert np.array_equal(decode(kind(data), "rgb8", 4, 6, step), image)


@pytest.mark.parametrize(
    ("encoding", "height", "width", "step", "size", "cause", "sentence"),
    [
        ("foo", 4, 4, 12, 48, "unknown encoding", "it must be one of mono8"),
        ("", 4, 4, 12, 48, "unknown encoding", "it must be one of"),
        ("BGR8", 4, 4, 12, 48, "unknown encoding", "it must be one of"),
        ("bgr8", 0, 4, 12, 48, "image too small", "4x0 pixels"),
        ("bgr8", 4, 0, 0, 48, "image too small", "0x4 pixels"),
        ("bayer_rggb8", 2, 4, 4, 8, "image too small", "at least 3x3"),
        ("bgr8", 4, 4, 11, 48, "step too small", "step of 11 bytes; 4 pixels of 3 bytes need at least 12"),
        ("bgr8", 4, 4, 0, 48, "step too small", "step of 0 bytes"),
        ("uyvy", 4, 3, 6, 48, "step too small", "step of 6"),
        ("nv12", 4, 3, 3, 48, "step too small", "step of 3"),
        ("bgr8", 4, 4, 12, 47, "data too short", "holds 47 bytes; 4 rows of 12 bytes need 48"),
        ("bgr8", 4, 4, 12, 0, "data too short", "holds 0 bytes"),
        ("nv12", 4, 4, 4, 23, "data too short", "holds 23 bytes"),
        ("nv24", 4, 4, 4, 47, "data too short", "holds 47 bytes"),
        ("bgr8", 2**32 - 1, 2**32 - 1, 2**32 - 1, 48, "step too small", "step of 4294967295"),
        ("mono8", 2**32 - 1, 2**32 - 1, 2**32 - 1, 48, "data too short", "holds 48 bytes"),
    ],
)
def test_what_is_refused(
    encoding: str, height: int, width: int, step: int, size: int, cause: str, sentence: str
) -> None:
    with pytest.raises(ImageError, match=sentence) as caught:
        decode(bytes(size), encoding, height, width, step)
    assert caught.value.cause == cause
    assert str(caught.value).endswith(".")


@given(
    encoding=st.sampled_from(ENCODINGS),
    height=st.integers(0, 9),
    width=st.integers(0, 9),
    step=st.integers(0, 40),
    data=st.binary(max_size=300),
    big=st.integers(0, 255),
)
def test_any_message_gives_a_picture_or_a_sentence(
    encoding: str, height: int, width: int, step: int, data: bytes, big: int
) -> None:
    with suppress(ImageError):
        decoded = decode(data, encoding, height, width, step, big)
        assert decoded.shape == (height, width, 3)
        assert decoded.dtype == np.uint8


@pytest.mark.parametrize("encoding", ["rgb8", "uyvy", "nv12", "nv24", "bayer_grbg8"])
def test_opencv_takes_what_comes_out(encoding: str) -> None:
    # Views with strides go into resize and drawing all the same.
    image = picture(33, 31)
    data, step = encode(image, encoding, 1)
    decoded = decode(data, encoding, 33, 31, step)
    half = cv2.resize(decoded, (15, 16), interpolation=cv2.INTER_AREA)
    assert np.array_equal(half, cv2.resize(decoded.copy(), (15, 16), interpolation=cv2.INTER_AREA))


def test_the_grey_expected_here_is_opencvs() -> None:
    image = picture(8, 8)
    assert worst(grey(image)[..., 0], cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)) <= 1

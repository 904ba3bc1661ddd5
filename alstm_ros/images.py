"""Image messages to pictures: every raw encoding that cameras send, JPEG and PNG.

OpenCV is called directly, not through cv_bridge: cv_bridge needs ROS to import, copies even where nothing is converted,
and knows neither nv12, nv21 nor nv24; this way bags and tests decode with the same code as the live node.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from alstm_ros.errors import ImageError
from alstm_ros.picture_files import Outline, outline, unpack
from alstm_ros.types import MAX_PIXELS, Image, UInt8

Bytes: TypeAlias = "bytes | bytearray | memoryview | array[int] | UInt8"
"""What an image message's `data` may be; rclpy gives an `array.array`."""


@dataclass(frozen=True, slots=True)
class _Packed:
    """An encoding of one plane: values a pixel, OpenCV's conversion to BGR (None: it is BGR), bytes a value."""

    channels: int
    code: int | None
    depth: int = 1


# A Bayer pattern is named in ROS by its first two rows, in OpenCV (the classic names) by the second and third pixel of
# the second and third row: bayer_rggb is BayerBG there. cv_bridge maps them alike.
_COLOURS = {
    "mono": (1, cv2.COLOR_GRAY2BGR),
    "bgr": (3, None),
    "rgb": (3, cv2.COLOR_RGB2BGR),
    "bgra": (4, cv2.COLOR_BGRA2BGR),
    "rgba": (4, cv2.COLOR_RGBA2BGR),
    "bayer_rggb": (1, cv2.COLOR_BayerBG2BGR),
    "bayer_bggr": (1, cv2.COLOR_BayerRG2BGR),
    "bayer_gbrg": (1, cv2.COLOR_BayerGR2BGR),
    "bayer_grbg": (1, cv2.COLOR_BayerGB2BGR),
}
_TYPES = {"UC1": "mono", "UC3": "bgr", "UC4": "bgra"}  # what OpenCV takes unnamed channels for
_PACKED = {f"{name}{8 * depth}": _Packed(*colour, depth) for depth in (1, 2) for name, colour in _COLOURS.items()} | {
    f"{8 * depth}{name}": _Packed(*_COLOURS[colour], depth) for depth in (1, 2) for name, colour in _TYPES.items()
}
_YUV422 = {
    "yuv422": cv2.COLOR_YUV2BGR_UYVY,
    "uyvy": cv2.COLOR_YUV2BGR_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2BGR_YUY2,
    "yuyv": cv2.COLOR_YUV2BGR_YUY2,
}
_YUV420 = {"nv12": cv2.COLOR_YUV2BGR_NV12, "nv21": cv2.COLOR_YUV2BGR_NV21}

ENCODINGS = (*_PACKED, *_YUV422, *_YUV420, "nv24")
"""Every encoding of `sensor_msgs/Image` that `decode` takes."""
SCAN_WORK = 12
"""How many scans a JPEG of the largest size may have; a smaller one may have more. Usual encoders make ten."""


def check_size(height: int, width: int, max_pixels: int) -> None:
    """Refuses a picture that is too large, before anything of it is unpacked.

    Args:
        height: pixels.
        width: pixels.
        max_pixels: the largest number of pixels that is taken.

    Raises:
        ImageError: it has more.
    """
    if height * width > max_pixels:
        raise ImageError(
            f"The image is {width}x{height} pixels; at most {max_pixels} pixels are taken (input.max_pixels).",
            "image too large",
        )


def decode(  # noqa: PLR0913, PLR0917  # the fields of sensor_msgs/Image
    data: Bytes, encoding: str, height: int, width: int, step: int, is_bigendian: int = 0
) -> Image:
    """A raw image as BGR.

    16-bit values are cut to their upper 8 bits, whatever the sensor's range. YUV is BT.601 of limited range, as OpenCV
    has it. Alpha is dropped.

    Args:
        data: the pixels; more than needed is allowed, and so is a last row without its padding.
        encoding: one of `ENCODINGS`, named as in `sensor_msgs/image_encodings.hpp`.
        height: rows of the picture (not of the buffer, which holds more rows for nv12, nv21 and nv24).
        width: pixels a row.
        step: bytes a row, padding included; of the luma plane for nv12, nv21 and nv24, whose chroma plane follows it
            (nv24's has rows of twice the step). Drivers that divide the data's size by the height are understood too.
        is_bigendian: whether 16-bit values have their upper byte first.

    Returns:
        `(H, W, 3)` uint8 BGR. For bgr8 and 8UC3 a read-only view of `data`; rows may be strided.

    Raises:
        ImageError: unknown encoding, no pixels, a step that is too small, or too little data.
    """
    if encoding not in ENCODINGS:
        raise ImageError(
            f"The image has the encoding {encoding[:40]!r}; it must be one of {', '.join(ENCODINGS)}.",
            "unknown encoding",
        )
    least = 3 if encoding.startswith("bayer") else 1  # OpenCV leaves smaller mosaics black
    if height < least or width < least:
        raise ImageError(
            f"The image is {width}x{height} pixels; {encoding} must be at least {least}x{least}.", "image too small"
        )
    content = np.frombuffer(data, np.uint8)
    content.flags.writeable = False
    if packed := _PACKED.get(encoding):
        values = _plane(content, height, width, packed.channels * packed.depth, step)
        if packed.depth == 2:
            values = np.ascontiguousarray(values[:, :, 0 if is_bigendian else 1 :: 2])
        return _to_bgr(values, packed.code)
    if code := _YUV422.get(encoding):
        pairs = _plane(content, height, width + width % 2, 2, step)  # two pixels share their chroma
        return np.asarray(cv2.cvtColor(pairs, code)[:, :width])
    return _decode_semi_planar(content, encoding, height, width, step)


def decode_compressed(data: Bytes, layout: str, max_pixels: int = MAX_PIXELS) -> Image:
    """A compressed image as BGR.

    The file's own signature tells JPEG, PNG and TIFF apart. An orientation in it is not applied: boxes are in the
    pixels that were sent. As compressed_image_transport has it, `bayer_...; jpeg compressed` is a mosaic in a grey
    file, and `compressed rgb8` says that red and blue were swapped before compressing. 16-bit values are cut to their
    upper 8 bits.

    Args:
        data: the file.
        layout: the message's `format`, such as `jpeg`, `png` or `rgb8; jpeg compressed bgr8`.
        max_pixels: the largest picture that is unpacked.

    Returns:
        `(H, W, 3)` uint8 BGR.

    Raises:
        ImageError: no JPEG, PNG or TIFF (compressedDepth and video among them), larger than `max_pixels`, or damaged.
            What a decoder only warns of counts as damage, where it fills in pixels that are not there.
    """
    content = bytes(data)
    found = outline(content)
    if found is None:
        named = next((name for name in ("png", "tif", "jpg", "jpeg") if name in layout), "")
        if "compressedDepth" not in layout and named:
            raise _damaged({"tif": "tiff", "jpg": "jpeg"}.get(named, named), len(content))
        raise ImageError(
            f"The compressed image has the format {layout[:40]!r}; it must be JPEG, PNG or TIFF.",
            "unknown compressed format",
        )
    origin, _, target = layout.partition(";")
    coloured = not origin.startswith("bayer") or "compressed bgr" in target or "compressed rgb" in target
    mosaic = None if coloured else _PACKED.get(origin.strip())
    flags = cv2.IMREAD_COLOR if mosaic is None else cv2.IMREAD_GRAYSCALE
    picture = _unpack(content, found, flags | cv2.IMREAD_IGNORE_ORIENTATION, max_pixels)
    if mosaic is not None:
        return _to_bgr(picture, mosaic.code)
    return _to_bgr(picture, cv2.COLOR_RGB2BGR if "compressed rgb" in target else None)


def encode_jpeg(image: Image, quality: int) -> UInt8:
    """A picture as JPEG.

    Args:
        image: `(H, W, 3)` uint8 BGR.
        quality: 1..100.

    Returns:
        `(N,)` uint8, the file's bytes.
    """
    # OpenCV reports what it cannot encode by False, and there is nothing of this dtype and shape that JPEG cannot hold
    # but a side above 65500 pixels.
    done, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))
    if not done:
        raise ImageError(
            f"An image of {image.shape[1]}x{image.shape[0]} pixels cannot be written as JPEG.", "image too large"
        )
    return np.asarray(data, np.uint8).reshape(-1)


def decode_file(data: Bytes, max_pixels: int = MAX_PIXELS) -> Image:
    """A picture file as BGR, turned as its orientation says.

    Args:
        data: the file: JPEG, PNG, or another format that OpenCV reads.
        max_pixels: the largest picture that is taken; that of a JPEG, PNG or TIFF is known before it is unpacked.

    Returns:
        `(H, W, 3)` uint8 BGR.

    Raises:
        ImageError: no picture that can be decoded, larger than `max_pixels`, or damaged.
    """
    content = bytes(data)
    found = outline(content)
    if found is not None:
        return _unpack(content, found, cv2.IMREAD_COLOR, max_pixels)
    picture, _ = unpack(content, cv2.IMREAD_COLOR) if content else (None, "")
    if picture is None:
        raise ImageError("The file is no image that can be decoded.", "unknown file format")
    height, width = picture.shape[:2]
    check_size(height, width, max_pixels)
    return picture


def _unpack(content: bytes, found: Outline, flags: int, max_pixels: int) -> UInt8:
    check_size(found.height, found.width, max_pixels)
    if found.height * found.width * found.scans > SCAN_WORK * max_pixels:
        raise ImageError(
            f"The compressed image is {found.width}x{found.height} pixels in {found.scans} scans, which is more work "
            f"than an image of {max_pixels} pixels (input.max_pixels) in {SCAN_WORK}.",
            "image too large",
        )
    picture, damage = unpack(content, flags) if found.whole else (None, "")
    if picture is None or damage:
        raise _damaged(found.codec, len(content), damage)
    return picture


def _damaged(codec: str, size: int, damage: str = "") -> ImageError:
    why = f" ({damage})" if damage else ""
    return ImageError(
        f"The compressed image is damaged: its {size} bytes are no whole {codec}{why}.", f"damaged {codec}"
    )


def _to_bgr(values: UInt8, code: int | None) -> Image:
    return values if code is None else np.asarray(cv2.cvtColor(values, code))


def _plane(  # noqa: PLR0913, PLR0917  # where a plane lies in memory takes six numbers
    content: UInt8, height: int, width: int, pixel: int, step: int, offset: int = 0
) -> UInt8:
    """A plane's bytes without copying: `(height, width, pixel)`, `step` bytes a row, starting at `offset`."""
    row = width * pixel
    if step < row:
        raise ImageError(
            f"The image has a step of {step} bytes; {width} pixels of {pixel} bytes need at least {row}.",
            "step too small",
        )
    end = offset + step * (height - 1) + row
    if content.size < end:
        raise ImageError(
            f"The image holds {content.size} bytes; {height} rows of {step} bytes need {end}.", "data too short"
        )
    plane: UInt8 = np.ndarray((height, width, pixel), np.uint8, content, offset, (step, pixel, 1))
    return plane


def _decode_semi_planar(content: UInt8, encoding: str, height: int, width: int, step: int) -> Image:
    """A luma plane, then one with the two chroma values interleaved: nv12 and nv21 for 2x2 pixels, nv24 for each.

    The kernel's documentation of V4L2 (NV12, NV21, NV24) fixes the planes, `sensor_msgs` does not say what `step` is
    then. Most drivers give the luma plane's; those that follow "data is step * rows" count both planes' bytes.
    """
    whole = encoding == "nv24"
    if content.size == step * height and step >= width * (3 if whole else 1.5):
        step = step // 3 if whole else step * 2 // 3
    if whole:
        luma = _plane(content, height, width, 1, step)
        u, v = cv2.split(_plane(content, height, width, 2, 2 * step, step * height))
        # UYVY of twice the width, so that each pixel has its own chroma, has OpenCV's very arithmetic.
        doubled = cv2.merge((u, luma, v, luma)).reshape(height, 2 * width, 2)  # (H, 2 * W, 2)
        return np.asarray(cv2.cvtColor(doubled, cv2.COLOR_YUV2BGR_UYVY)[:, ::2])
    columns, rows = width + width % 2, height + height % 2
    chroma = _plane(content, rows // 2, columns // 2, 2, step, step * height)
    luma = _plane(content, height, columns, 1, step)
    if rows > height:
        luma = cv2.copyMakeBorder(luma, 0, 1, 0, 0, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.cvtColorTwoPlane(luma, chroma, _YUV420[encoding])[:height, :width])

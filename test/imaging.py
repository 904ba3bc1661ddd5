"""Image messages of every encoding, made by formulas of their own so that they can judge `alstm_ros.images`."""

from __future__ import annotations

import numpy as np

from alstm_ros.types import Float64, Image, UInt8

PADDING = 0xA5  # what stands between the rows; a decoder that looks there shows it


def picture(height: int, width: int) -> Image:
    """A smooth picture whose channels differ enough for a swap to show: `(height, width, 3)` uint8 BGR."""
    y, x = np.mgrid[:height, :width]
    waves = [190 + 25 * np.sin(x / 17), 110 + 25 * np.sin(y / 13), 50 + 25 * np.cos((x + y) / 19)]
    return _round(np.stack(waves, axis=-1))


def noise(height: int = 128, width: int = 160, seed: int = 0) -> Image:
    """`(height, width, 3)` uint8, every value as likely."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def grey(image: Image) -> Image:
    """The picture without its colours, by BT.601's weights: `(H, W, 3)`, three equal channels."""
    luma = image.astype(np.float64) @ np.array([0.114, 0.587, 0.299])
    return np.repeat(luma.round().astype(np.uint8)[..., None], 3, axis=2)


def expected(image: Image, encoding: str) -> Image:
    """What a message made by `encode` should decode to, within `tolerance`."""
    return grey(image) if encoding.startswith("mono") or encoding.endswith("UC1") else image


def tolerance(encoding: str) -> int:
    """How far a value may be off for `picture`, in steps of 1/255."""
    if encoding.startswith("bayer"):
        return 5  # interpolation at the border
    # Luma and chroma are whole numbers of a smaller range, and chroma is shared by neighbours.
    return 4 if encoding.startswith(("yu", "uy", "nv")) else 0


def encode(image: Image, encoding: str, padding: int = 0, *, big_endian: bool = False) -> tuple[bytes, int]:
    """The data of a `sensor_msgs/Image`.

    Args:
        image: `(H, W, 3)` uint8 BGR.
        encoding: one of `alstm_ros.images.ENCODINGS`.
        padding: bytes after each row; nv24's chroma rows have twice as many.
        big_endian: upper byte first; only 16-bit encodings care.

    Returns:
        The bytes and the step.
    """
    planes = _planes(image, encoding)
    if encoding.endswith("16") or encoding.startswith("16"):
        # Full scale stays full scale: 0xab becomes 0xabab.
        planes = [
            (plane.astype(np.uint16) * 257).astype(">u2" if big_endian else "<u2").view(np.uint8) for plane in planes
        ]
    step = planes[0].shape[1] + padding
    rows = [_pad(plane, step * (2 if index and encoding == "nv24" else 1)) for index, plane in enumerate(planes)]
    return b"".join(plane.tobytes() for plane in rows), step


def _pad(plane: UInt8, step: int) -> UInt8:
    return np.pad(plane, ((0, 0), (0, step - plane.shape[1])), constant_values=PADDING)


def _planes(image: Image, encoding: str) -> list[UInt8]:
    """Each plane as `(rows, values a row)`; values are 8 bits here."""
    height, width = image.shape[:2]
    b, g, r = np.moveaxis(image, 2, 0)
    alpha = np.full_like(b, 77)
    name = {"UC1": "mono", "UC3": "bgr", "UC4": "bgra"}.get(encoding[-3:], encoding.rstrip("0123456789"))
    orders = {"bgr": (b, g, r), "rgb": (r, g, b), "bgra": (b, g, r, alpha), "rgba": (r, g, b, alpha)}
    if name in orders:
        return [np.stack(orders[name], axis=-1).reshape(height, -1)]
    if name == "mono":
        return [grey(image)[..., 0]]
    if name.startswith("bayer"):
        mosaic = np.empty_like(b)
        for index, letter in enumerate(name[-4:]):
            at = np.s_[index // 2 :: 2, index % 2 :: 2]
            mosaic[at] = {"b": b, "g": g, "r": r}[letter][at]
        return [mosaic]
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    y, u, v = np.moveaxis(_yuv(even), 2, 0)
    if encoding == "nv24":
        y, u, v = (_round(plane[:height, :width]) for plane in (y, u, v))
        return [y, np.stack([u, v], axis=-1).reshape(height, -1)]
    if encoding.startswith("nv"):
        u, v = (plane.reshape(len(y) // 2, 2, -1, 2).mean(axis=(1, 3)) for plane in (u, v))
        pair = [u, v] if encoding == "nv12" else [v, u]
        return [_round(y[:height]), _round(np.stack(pair, axis=-1).reshape(len(u), -1))]
    y, u, v = y[:height], *(plane[:height].reshape(height, -1, 2).mean(axis=2) for plane in (u, v))
    four = [u, y[:, ::2], v, y[:, 1::2]] if encoding in {"yuv422", "uyvy"} else [y[:, ::2], u, y[:, 1::2], v]
    return [_round(np.stack(four, axis=-1).reshape(height, -1))]


def _yuv(image: Image) -> Float64:
    """Luma and chroma of limited range by ITU-R BT.601: `(H, W, 3)` float64."""
    b, g, r = np.moveaxis(image / 255, 2, 0)
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    return np.stack([16 + 219 * luma, 128 + 224 * (b - luma) / 1.772, 128 + 224 * (r - luma) / 1.402], axis=-1)


def _round(plane: Float64) -> UInt8:
    return np.asarray(plane.round(), np.uint8)

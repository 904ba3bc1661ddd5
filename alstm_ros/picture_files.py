"""JPEG, PNG and TIFF files: the size they claim, read before they are unpacked, and what their decoders complain of."""

from __future__ import annotations

import os
import re
import struct
import tempfile
import threading
from dataclasses import dataclass
from typing import IO

import cv2
import numpy as np

from alstm_ros.types import UInt8

_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_MARKER_AFTER_SCAN = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)  # restarts are part of a scan
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15; the others are tables
_END, _SCAN = 0xD9, 0xDA

PADDING = 8
"""How many bytes between the last pixel and the end marker are harmless; cameras pad their pictures with a few."""
_DAMAGE = re.compile("Corrupt JPEG data|Premature end of JPEG|Inconsistent progression|Invalid SOS|Bogus|libpng error")
_PADDED = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_TALK = re.compile(
    rf"({_DAMAGE.pattern}|libpng warning|Warning: unknown JFIF|Unknown Adobe|Unsupported|Invalid|Improper|"
    r"\[ *(WARN|ERROR|INFO)[ :]*\d+@)"
)
"""How the lines begin that the decoders, and OpenCV about them, write to the process's standard error."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What a picture file says of itself.

    Attributes:
        codec: `jpeg`, `png` or `tiff`.
        height: pixels.
        width: pixels.
        scans: how often a decoder goes over all pixels; 1 but for progressive JPEG.
        whole: whether it claims a size and, for JPEG, has its end marker: older OpenCV fills in what is missing. The
            readers of PNG and TIFF check the rest themselves.
    """

    codec: str
    height: int
    width: int
    scans: int
    whole: bool


def outline(content: bytes) -> Outline | None:
    """Reads a JPEG's, PNG's or TIFF's claims about itself; None where the content is none of them."""
    if content.startswith(b"\xff\xd8"):
        return _jpeg_outline(content)
    if content.startswith((b"II*\0", b"MM\0*")):
        return _tiff_outline(content)
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    if content[12:16] != b"IHDR" or len(content) < 24:
        return Outline("png", 0, 0, 1, whole=False)
    width, height = struct.unpack_from(">II", content, 16)
    return Outline("png", height, width, 1, whole=True)


def _jpeg_outline(content: bytes) -> Outline:
    """Walks the marker segments (ITU-T T.81, annex B); neither a thumbnail nor what follows the end counts."""
    height = width = scans = 0
    whole, pattern, place = False, _MARKER, 2
    while found := pattern.search(content, place):
        marker, place, pattern = found[1][0], found.end(), _MARKER
        if marker == _END:
            whole = True
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # these stand alone
            continue
        if marker in _FRAMES and len(content) >= place + 7:
            lines, columns = struct.unpack_from(">HH", content, place + 3)
            height, width = max(height, lines), max(width, columns)
        if len(content) < place + 2:
            break
        place += struct.unpack_from(">H", content, place)[0]
        if marker == _SCAN:
            scans, pattern = scans + 1, _MARKER_AFTER_SCAN
    return Outline("jpeg", height, width, max(scans, 1), whole and height > 0 and width > 0)


def _tiff_outline(content: bytes) -> Outline:
    """Reads the first directory's width and height (TIFF 6.0, section 2)."""
    order = "<" if content.startswith(b"II") else ">"
    found = {256: 0, 257: 0}  # ImageWidth, ImageLength
    try:
        (place,) = struct.unpack_from(f"{order}I", content, 4)
        (count,) = struct.unpack_from(f"{order}H", content, place)
        for number in range(count):
            tag, kind = struct.unpack_from(f"{order}HH", content, place + 2 + 12 * number)
            if tag in found:  # a SHORT or a LONG
                (found[tag],) = struct.unpack_from(
                    f"{order}{'H' if kind == 3 else 'I'}", content, place + 10 + 12 * number
                )
    except struct.error:  # cut off
        return Outline("tiff", 0, 0, 1, whole=False)
    return Outline("tiff", found[257], found[256], 1, whole=min(found.values()) > 0)


_lock = threading.Lock()
_caught: list[IO[bytes]] = []  # one file for the process, made when first needed


def unpack(content: bytes, flags: int) -> tuple[UInt8 | None, str]:
    """Decodes a picture file.

    libjpeg and libpng write what they think of a file to standard error, once for each picture, and OpenCV offers no
    other way to it. So standard error is a file for the moment of decoding; lines of anybody else go where they should.

    Args:
        content: the file.
        flags: OpenCV's `IMREAD_...`.

    Returns:
        The picture, `(H, W)` or `(H, W, 3)` uint8, None where there is none; and the decoder's words, where pixels are
        missing in it.
    """
    with _lock:
        try:
            own = os.dup(2)
        except OSError:  # a process without standard error
            return _decode(content, flags), ""
        try:
            if not _caught:
                _caught.append(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115  # as long as the process
            file = _caught[0].fileno()
            os.dup2(file, 2)
            try:
                picture = _decode(content, flags)
            finally:
                os.dup2(own, 2)
            written = os.lseek(file, 0, os.SEEK_CUR)
            if not written:
                return picture, ""
            text = os.pread(file, written, 0)
            os.ftruncate(file, 0)
            os.lseek(file, 0, os.SEEK_SET)
        finally:
            os.close(own)
    lines = text.decode(errors="replace").splitlines(keepends=True)
    others = "".join(line for line in lines if not _TALK.match(line))
    if others:
        os.write(2, others.encode())
    return picture, next((line.strip()[:200] for line in lines if _is_damage(line)), "")


def _is_damage(line: str) -> bool:
    padded = _PADDED.match(line)
    return bool(_DAMAGE.match(line)) and not (padded and int(padded[1]) <= PADDING)


def _decode(content: bytes, flags: int) -> UInt8 | None:
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:  # OpenCV's own limits on sizes
        return None
    return None if picture is None else np.asarray(picture, np.uint8)

"""Which files may be decoded on a GPU, told from their markers in microseconds.

Only what a GPU decodes as libjpeg does: plain JPEGs, as cameras and converters write them. Everything that is odd in any way goes to the
CPU, which judges it, and whose status and error codes count.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from imagejob_api.pipeline import Decode, Preprocess
from imagejob_runner.device.geometry import scaling
from imagejob_runner.images.formats import is_cut_short

_START: Final = b"\xff\xd8\xff"
_SOF_PLAIN: Final = frozenset({0xC0, 0xC2})
"""Baseline and progressive; not lossless, arithmetic or hierarchical."""
_TABLES: Final = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
_SOS: Final = 0xDA
_APP0, _APP1, _APP2, _APP14 = 0xE0, 0xE1, 0xE2, 0xEE
_EXIF: Final = b"Exif\0\0"
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_ORIENTATION: Final = 0x0112
_SHORT: Final = 3
_UPRIGHT: Final = 1
_YCC_IDS: Final = (1, 2, 3)
_SAMPLING: Final = frozenset({(1, 1), (2, 1), (1, 2), (2, 2), (4, 1)})
_UNSAMPLED: Final = (1, 1)


@dataclass(frozen=True, slots=True)
class Header:
    """What the markers of a plain JPEG say."""

    width: int
    """As stored, in pixels."""
    height: int
    """As stored."""
    orientation: int
    """EXIF's, 1 to 8; 1 if there is none, or it is not to be followed."""


def header_for_gpu(data: bytes, decode: Decode, preprocess: Preprocess) -> Header | None:
    """What a GPU needs to know of a file that it may decode.

    Args:
        data: The encoded file.
        decode: Of the step.
        preprocess: Of the model that comes next, with nothing in between.

    Returns:
        None if the CPU is to decode it.
    """
    if not data.startswith(_START) or decode.frame or is_cut_short("JPEG", data):
        return None
    try:
        header = _read(data)
    except (struct.error, IndexError, _OddError):
        return None
    if not decode.exif_orientation:
        header = Header(header.width, header.height, _UPRIGHT)
    if not 0 < header.width * header.height <= decode.max_pixels:
        return None
    return header if scaling(header.width, header.height, header.orientation, preprocess) is not None else None


class _OddError(Exception):
    """Something that is not as cameras and converters write it."""


def _read(data: bytes) -> Header:
    size: tuple[int, int] | None = None
    ids: tuple[int, ...] = ()
    jfif = False
    transform = orientation = None
    for marker, start, end in _segments(data):
        if _is_odd(marker, data, start, end):
            raise _OddError
        if marker in _SOF_PLAIN:
            if size is not None:
                raise _OddError
            size, ids = _frame(data, start, end)
        elif marker == _APP0:
            jfif = jfif or data.startswith(b"JFIF\0", start, end)
        elif marker == _APP1 and data.startswith(_EXIF, start, end):
            if orientation is not None:
                raise _OddError
            orientation = _exif_orientation(data[start + len(_EXIF) : end])
        elif marker == _APP14 and data.startswith(b"Adobe", start, end):
            transform = data[start + 11]
    if size is None or not _is_ycc(ids, transform, jfif=jfif):
        raise _OddError
    return Header(*size, orientation or _UPRIGHT)


def _is_odd(marker: int, data: bytes, start: int, end: int) -> bool:
    """Whether a segment may say in another place how the picture is turned, or that the file holds several pictures."""
    if marker == _APP1 and data.startswith(_XMP, start, end):
        return data.find(b"Orientation", start, end) >= 0
    return marker == _APP2 and data.startswith(b"MPF\0", start, end)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of every segment before the first scan."""
    place = 2
    while True:
        if data[place] != 0xFF:  # noqa: PLR2004  what every marker begins with
            raise _OddError
        marker = data[place + 1]
        if marker == _SOS:
            return
        if marker not in _TABLES and marker not in _SOF_PLAIN:
            raise _OddError
        start = place + 4
        place += 2 + int.from_bytes(data[place + 2 : start], "big")
        if place < start:
            raise _OddError
        yield marker, start, place


def _frame(data: bytes, start: int, end: int) -> tuple[tuple[int, int], tuple[int, ...]]:
    """Width and height, and the names of the components."""
    precision, height, width, components = struct.unpack_from(">BHHB", data, start)
    if precision != 8 or components not in (1, 3) or end - start != 6 + 3 * components:  # noqa: PLR2004  of a usual picture
        raise _OddError
    parts = [(data[at], (data[at + 1] >> 4, data[at + 1] & 15)) for at in range(start + 6, end, 3)]
    first, *chroma = (sampling for _, sampling in parts)
    if chroma and (first not in _SAMPLING or any(sampling != _UNSAMPLED for sampling in chroma)):
        raise _OddError
    return (width, height), tuple(name for name, _ in parts)


def _is_ycc(ids: tuple[int, ...], transform: int | None, *, jfif: bool) -> bool:
    """Whether it is grey, or its colours are YCbCr beyond doubt; see libjpeg's default_decompress_parms."""
    if len(ids) == 1:
        return True
    return transform == 1 or (transform is None and (jfif or ids == _YCC_IDS))


def _exif_orientation(tiff: bytes) -> int:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        raise _OddError
    (directory,) = struct.unpack_from(order + "I", tiff, 4)
    (entries,) = struct.unpack_from(order + "H", tiff, directory)
    for at in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, kind, count, value = struct.unpack_from(order + "HHIH", tiff, at)
        if tag == _ORIENTATION:
            if kind != _SHORT or count != 1 or value not in range(1, 9):
                raise _OddError
            return int(value)
    return _UPRIGHT

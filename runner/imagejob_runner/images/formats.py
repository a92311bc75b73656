"""Which files are images to us: an allow-list, told by their first bytes.

Pillow tries 43 openers in turn, some of them interpreters (EPS) or thin wrappers of other programs. Here the signature alone chooses one
opener, so that a hostile file never reaches another, and a damaged file is called damaged instead of unknown.
"""

import re
from collections.abc import Callable
from io import BytesIO
from typing import Final

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL.ImageFile import ImageFile

from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError
from imagejob_runner.images.probe import FORMATS

_SIGNATURES: Final[dict[str, re.Pattern[bytes]]] = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    # Two letters would take in any text; the size of the second header comes from a short list.
    "BMP": re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "AVIF": re.compile(rb".{4}ftypavi[fs]", re.DOTALL),
    "PPM": re.compile(rb"P[1-6f][\s#]"),
}

_OPENERS: Final[dict[str, Callable[[BytesIO], ImageFile]]] = {
    "JPEG": JpegImagePlugin.jpeg_factory,  # a multi-picture file (MPO) is a JPEG first
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
}

# What people hand over by mistake, told by name: of the bytes themselves, which may be anybody's secret, nothing is said.
_OTHERS: Final[dict[str, re.Pattern[bytes]]] = {
    "an HTML page, which a web server may have sent instead of the picture": re.compile(
        rb"\s*<(!doctype html|html|head|body)", re.IGNORECASE
    ),
    "an SVG drawing": re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!doctype svg[^>]*>\s*)?<svg", re.IGNORECASE | re.DOTALL),
    "XML": re.compile(rb"\s*<\?xml"),
    "a PDF document": re.compile(rb"%PDF-"),
    "PostScript": re.compile(rb"%!PS|\xc5\xd0\xd3\xc6"),
    "HEIC": re.compile(rb".{4}ftyp(hei[cxms]|hev[cx]|mif1|msf1)", re.DOTALL),
    "JPEG XL": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "),
    "JPEG 2000": re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    "a video or another ISO media file": re.compile(rb".{4}ftyp|\x1a\x45\xdf\xa3", re.DOTALL),
    "a Photoshop file": re.compile(rb"8BPS"),
    "an icon": re.compile(rb"\0\0[\1\2]\0"),
    "a ZIP archive, or what is made of one": re.compile(rb"PK[\3\5]"),
    "compressed with gzip": re.compile(rb"\x1f\x8b"),
    "JSON": re.compile(rb"\s*[\[{]\s*[\"{\[\]}]"),
    "text": re.compile(rb"[\t-\r -~]{512}|[\t-\r -~]+\Z"),
}
_SNIFFED_BYTES: Final = 1024
_PADDING: Final = b"\0\r\n"


def format_of(data: bytes) -> str:
    """Name of the format that the first bytes tell, one of `FORMATS`.

    Raises:
        ImageError: EmptyFile, or UnsupportedFormat when no signature fits.
    """
    if not data:
        raise ImageError(ErrorCode.EMPTY_FILE, "the file is empty (0 bytes)")
    for name, signature in _SIGNATURES.items():
        if signature.match(data):
            return name
    looks = next((f": it looks like {what}" for what, signature in _OTHERS.items() if signature.match(data[:_SNIFFED_BYTES])), "")
    raise ImageError(ErrorCode.UNSUPPORTED_FORMAT, f"not an image of an accepted format{looks}; accepted are {', '.join(FORMATS)}")


def open_as(name: str, data: bytes) -> ImageFile:
    """Reads the header of `data` with the opener of format `name`; no pixel is decoded.

    Raises:
        Exception: Whatever Pillow raises on damaged bytes.
    """
    return _OPENERS[name](BytesIO(data))


def is_cut_short(name: str, data: bytes) -> bool:
    """Whether the container itself says that bytes are missing at its end; formats without such a mark say False."""
    match name:
        case "JPEG":
            missing = not data.rstrip(_PADDING).endswith(b"\xff\xd9")
        case "GIF":
            missing = not data.rstrip(_PADDING).endswith(b";")
        case "PNG":
            missing = b"IEND" not in data
        case "WEBP":
            missing = len(data) < 8 + int.from_bytes(data[4:8], "little")
        case "BMP":
            missing = len(data) < int.from_bytes(data[2:6], "little")
        case "TIFF":
            # The directory of the first page may stand anywhere, and often stands last.
            missing = len(data) < 2 + int.from_bytes(data[4:8], "little" if data.startswith(b"II") else "big")
        case _:
            missing = False
    return missing

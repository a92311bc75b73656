"""Real photos from installed packages, and the odd and hostile files made of them."""

import struct
import zlib
from importlib import resources
from io import BytesIO
from typing import Final

from PIL import Image

_PACKAGES: Final = ("skimage.data", "sklearn.datasets.images")


def photo(name: str) -> bytes:
    """The file `name` as scikit-image or scikit-learn ships it."""
    for package in _PACKAGES:
        file = resources.files(package).joinpath(name)
        if file.is_file():
            return file.read_bytes()
    raise FileNotFoundError(name)


def opened(name: str) -> Image.Image:
    """The photo `name` in mode RGB."""
    with Image.open(BytesIO(photo(name))) as image:
        return image.convert("RGB")


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """The picture as a file."""
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of one colour: a few kilobytes that decode to width times height pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    row = b"\0" * (1 + width // 8)
    pixels = zlib.compress(row * height, 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")

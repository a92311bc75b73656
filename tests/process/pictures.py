"""Image files for whole runs: good ones, and each kind of trouble."""

import io
import random
import struct
import zlib
from pathlib import Path

from PIL import Image, ImageFilter

BOMB_SIDE = 20_000


def photo(seed: int, size: tuple[int, int] = (320, 240), form: str = "JPEG") -> bytes:
    """A good picture: soft coloured noise, so that the encoder has work as with a photo."""
    chance = random.Random(seed)  # noqa: S311  a pattern, no secret
    tint = tuple(chance.randrange(40, 216) for _ in range(3))
    small = Image.new("RGB", (40, 30))
    small.putdata([tuple(min(255, max(0, value + chance.randrange(-40, 40))) for value in tint) for _ in range(40 * 30)])
    return encoded(small.resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1)), form)


def plain(colour: str, size: tuple[int, int] = (64, 48), form: str = "JPEG") -> bytes:
    """A picture of one colour."""
    return encoded(Image.new("RGB", size, colour), form)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of a few kilobytes that holds 400 million pixels."""
    row = b"\0" + bytes(BOMB_SIDE // 8)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(row) for _ in range(BOMB_SIDE)) + packer.flush()
    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def sixteen_bit() -> bytes:
    """A grey PNG of 16 bits a pixel, at half of full brightness: read with 8 bits clipped, it would be white."""
    return encoded(Image.new("I;16", (64, 48), 32768), "PNG")


def cmyk() -> bytes:
    """A JPEG in printers' colours that shows pure cyan."""
    return encoded(Image.new("CMYK", (64, 48), (255, 0, 0, 0)), "JPEG", quality=95)


def animated() -> bytes:
    """A GIF of a green and then a red frame."""
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("#00ff00", "#ff0000")]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)


def palette_with_alpha() -> bytes:
    """A palette PNG whose left half is blue and whose right half is invisible, with black hidden behind."""
    image = Image.new("P", (64, 48), 1)
    image.putpalette([0, 0, 255, 0, 0, 0])
    image.paste(0, (0, 0, 32, 48))
    return encoded(image, "PNG", transparency=bytes([255, 0]))


def write_all(folder: Path, files: dict[str, bytes]) -> None:
    """Writes files of any name into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)

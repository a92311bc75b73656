"""Image files for whole runs: good ones, and each kind of trouble."""

import random
from pathlib import Path

from PIL import Image, ImageFilter

from tests.tools.photos import encoded, png_bomb

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


def bomb() -> bytes:
    """A PNG of a few kilobytes that holds 400 million pixels."""
    return png_bomb(BOMB_SIDE, BOMB_SIDE)


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

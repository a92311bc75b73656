"""Every Pillow mode as 8-bit RGB, the way a viewer would show it.

`Image.convert("RGB")` alone clips 16-bit pictures to white and lets the hidden colour of transparent pixels through.

What needs steps in between goes through them in bands of rows, so that besides the picture and its RGB nothing of its size is held.
"""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from PIL import Image

from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError

_PROFILE: Final = "icc_profile"
_CONVERTED: Final = frozenset({"1", "L", "P", "CMYK", "YCbCr", "HSV", "LAB", "RGBX"})
_BAND_PIXELS: Final = 1 << 15
_FULL_8: Final = 255
_FULL_16: Final = 65535


def to_rgb(image: Image.Image, background: str) -> Image.Image:
    """An RGB picture of a loaded image of any mode.

    * More than 8 bits (modes I;16, I, F) are scaled, see `_scaling`.
    * Transparency, of an alpha channel, a palette or one colour, is composited onto `background`.
    * CMYK is converted by Pillow's formula; colour profiles are not applied. Adobe's inverted CMYK is told by its marker.

    Args:
        image: A loaded picture.
        background: Colour as #rrggbb.

    Returns:
        The picture, maybe `image` itself; its `info` holds at most an RGB colour profile.

    Raises:
        ImageError: UnsupportedFormat, for a mode that has no RGB reading.
    """
    profile = image.info.get(_PROFILE) if image.mode in {"RGB", "RGBA", "P"} else None
    if image.mode[0] in "IF":
        rgb = _from_wide(image, background)
    elif image.has_transparency_data:
        rgb = _over(image, background)
    elif image.mode == "RGB":
        rgb = image
    elif image.mode in _CONVERTED:
        rgb = image.convert("RGB")
    else:
        raise ImageError(ErrorCode.UNSUPPORTED_FORMAT, f"pictures of mode {image.mode} cannot be turned into RGB")
    rgb.info = {} if profile is None else {_PROFILE: profile}
    return rgb


def _over(image: Image.Image, background: str) -> Image.Image:
    result = Image.new("RGB", image.size, background)
    for top, band in _bands(image):
        part = band if band.mode == "RGBA" else band.convert("RGBA")
        result.paste(part, (0, top), mask=part)
    return result


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The picture in bands of rows, each with the place of its first row."""
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(image.height, top + rows)))


def _from_wide(image: Image.Image, background: str) -> Image.Image:
    eight_bits = _scaling(image)
    hidden = image.info.get("transparency")
    result = Image.new("RGB", image.size)
    for top, band in _bands(image):
        values = np.asarray(band)
        grey = Image.fromarray(eight_bits(values)).convert("RGB")
        if isinstance(hidden, int):
            grey.paste(background, mask=Image.fromarray(np.where(values == hidden, np.uint8(_FULL_8), np.uint8(0))))
        result.paste(grey, (0, top))
    return result


def _scaling(image: Image.Image) -> Callable[[np.ndarray], np.ndarray]:
    """What scales wide values of a picture to 0..255.

    Sixteen-bit formats map 0..65535 to 0..255 whatever the picture holds, so that pictures stay comparable. Formats without a fixed range
    (TIFF of 32-bit integers or floats) are read by what they hold: 0..1 (floats), 0..255 or 0..65535 as their full range, anything else
    stretched from its smallest to its largest finite value. What is not a number becomes 0.

    Returns:
        A function from grey values of shape (height, width) to values of type uint8 and the same shape.
    """
    if image.mode.startswith("I;16"):
        return _rounded
    if image.format in {"PNG", "PPM"}:
        low, high = 0.0, float(_FULL_16)
    else:
        extremes = [(float(wide.min()), float(wide.max())) for wide in (_finite(np.asarray(band)) for _, band in _bands(image))]
        low, high = _range_of(min(low for low, _ in extremes), max(high for _, high in extremes), floats=image.mode == "F")

    def scaled(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip(np.rint((_finite(values) - low) * (_FULL_8 / (high - low))), 0, _FULL_8), dtype=np.uint8)

    return scaled


def _rounded(values: np.ndarray) -> np.ndarray:
    # libpng's png_set_scale_16: exact rounding of value / 257.
    return np.asarray((values.astype(np.uint32) * _FULL_8 + 32895) >> 16, dtype=np.uint8)


def _finite(values: np.ndarray) -> np.ndarray:
    wide = values.astype(np.float32)
    return np.where(np.isfinite(wide), wide, np.float32(0))


def _range_of(low: float, high: float, *, floats: bool) -> tuple[float, float]:
    for full in (1.0, float(_FULL_8), float(_FULL_16)) if floats else (float(_FULL_8), float(_FULL_16)):
        if low >= 0 and high <= full:
            return 0.0, full
    return low, max(high, low + 1)

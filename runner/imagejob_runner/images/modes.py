"""Every Pillow mode as 8-bit RGB, the way a viewer would show it.

`Image.convert("RGB")` alone clips 16-bit pictures to white and lets the hidden colour of transparent pixels through.
"""

from typing import Final

import numpy as np
from PIL import Image

from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError

_PROFILE: Final = "icc_profile"
_CONVERTED: Final = frozenset({"1", "L", "P", "CMYK", "YCbCr", "HSV", "LAB", "RGBX"})
_FULL_8: Final = 255
_FULL_16: Final = 65535


def to_rgb(image: Image.Image, background: str) -> Image.Image:
    """An RGB picture of a loaded image of any mode.

    * More than 8 bits (modes I;16, I, F) are scaled, see `_eight_bits`.
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
        rgb = _over(image.convert("RGBA"), background)
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
    result.paste(image, mask=image)
    return result


def _from_wide(image: Image.Image, background: str) -> Image.Image:
    values = np.asarray(image)
    grey = Image.fromarray(_eight_bits(values, sixteen=image.mode.startswith("I;16") or image.format in {"PNG", "PPM"})).convert("RGB")
    hidden = image.info.get("transparency")
    if isinstance(hidden, int):
        grey.paste(background, mask=Image.fromarray(np.where(values == hidden, np.uint8(_FULL_8), np.uint8(0))))
    return grey


def _eight_bits(values: np.ndarray, *, sixteen: bool) -> np.ndarray:
    """Scales wide values to 0..255.

    Sixteen-bit formats map 0..65535 to 0..255 whatever the picture holds, so that pictures stay comparable. Formats without a fixed range
    (TIFF of 32-bit integers or floats) are read by what they hold: 0..1 (floats), 0..255 or 0..65535 as their full range, anything else
    stretched from its smallest to its largest finite value. What is not a number becomes 0.

    Args:
        values: Grey values of shape (height, width).
        sixteen: Whether the format's range is 0..65535.

    Returns:
        Values of type uint8 and the same shape.
    """
    if values.dtype.kind == "u" and values.dtype.itemsize == np.dtype(np.uint16).itemsize:
        # libpng's png_set_scale_16: exact rounding of value / 257.
        wide = values.astype(np.uint32)
        return np.asarray((wide * _FULL_8 + 32895) >> 16, dtype=np.uint8)
    wide = values.astype(np.float32)
    finite = np.isfinite(wide)
    if not finite.all():
        wide = np.where(finite, wide, np.float32(0))
    low, high = (0.0, float(_FULL_16)) if sixteen else _range_of(wide, floats=values.dtype.kind == "f")
    scaled = (wide - low) * (_FULL_8 / (high - low))
    return np.asarray(np.clip(np.rint(scaled), 0, _FULL_8), dtype=np.uint8)


def _range_of(values: np.ndarray, *, floats: bool) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    for full in (1.0, float(_FULL_8), float(_FULL_16)) if floats else (float(_FULL_8), float(_FULL_16)):
        if low >= 0 and high <= full:
            return 0.0, full
    return low, max(high, low + 1)

"""How pictures are scaled: one place for filters, rounding and the accuracy that is traded for speed."""

from typing import Final

from PIL import Image

FILTERS: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
"""Resampling filters by their name in the API."""

REDUCING_GAP: Final = 3.0
"""A picture more than twice this many times too large is first averaged over whole pixels; Pillow calls 3.0 as good as exact resampling."""

Box = tuple[float, float, float, float]
"""Left, upper, right, lower edge in pixels."""


def scale(image: Image.Image, size: tuple[int, int], filter_name: str, box: Box | None = None) -> Image.Image:
    """The part `box` of the picture (all of it by default) scaled to `size`; the picture itself when that changes nothing."""
    if image.size == size and box is None:
        return image
    return image.resize(size, FILTERS[filter_name], box=box, reducing_gap=REDUCING_GAP)


def scaled_size(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """Width and height times `factor`, rounded, at least one pixel each."""
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))

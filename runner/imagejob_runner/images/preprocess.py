"""From a picture to the array that a model takes, in a single resampling pass. Whoever changes its pixels raises `recipe.RECIPE`."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from imagejob_api.pipeline import Preprocess
from imagejob_runner.images.scaling import Box, scale, scaled_size


def to_array(image: Image.Image, preprocess: Preprocess, background: str = "#ffffff") -> np.ndarray:
    """The model's input before normalisation; see `to_input`.

    Returns:
        Values 0..255 of type uint8, shape (size, size, 3), rows first, red first.
    """
    return np.asarray(to_input(image, preprocess, background))


def to_input(image: Image.Image, preprocess: Preprocess, background: str = "#ffffff") -> Image.Image:
    """The model's input before normalisation, as a picture.

    * ``crop``: the centre square whose side is `crop_fraction` of the shorter side, scaled to `size`. It is what resizing the shorter side
      to ``size / crop_fraction`` and cutting out the centre gives, up to rounding to whole pixels in between, but resamples once and only
      what is kept.
    * ``squash``: both sides scaled to `size`.
    * ``pad``: the longer side scaled to `size`, the picture in the middle, the rest filled with `background`.

    Args:
        image: An RGB picture.
        preprocess: Size, method and filter.
        background: Colour as #rrggbb.

    Returns:
        An RGB picture of size times size pixels.
    """
    place = placed(image.size, preprocess)
    fitted = scale(image, place.size, preprocess.filter, place.box)
    side = preprocess.size
    if fitted.size == (side, side):
        return fitted
    result = Image.new("RGB", (side, side), background)
    result.paste(fitted, place.offset)
    return result


@dataclass(frozen=True, slots=True)
class Place:
    """What of a picture becomes what of a model's input."""

    box: Box | None
    """The part of the picture that is scaled; all of it if None."""
    size: tuple[int, int]
    """Width and height that it is scaled to."""
    offset: tuple[int, int]
    """Where its left upper corner stands in the input."""


def placed(size: tuple[int, int], preprocess: Preprocess) -> Place:
    """Where an upright picture of this width and height goes in the model's input; what it leaves open is background."""
    side = preprocess.size
    match preprocess.resize:
        case "crop":
            return Place(_centre(size, preprocess.crop_fraction), (side, side), (0, 0))
        case "squash":
            return Place(None, (side, side), (0, 0))
        case "pad":
            width, height = scaled_size(size, side / max(size))
            return Place(None, (width, height), ((side - width) // 2, (side - height) // 2))


def shorter_side(preprocess: Preprocess) -> int:
    """Length in pixels of a picture's shorter side from which `to_array` need not enlarge."""
    return math.ceil(preprocess.size / preprocess.crop_fraction) if preprocess.resize == "crop" else preprocess.size


def _centre(size: tuple[int, int], fraction: float) -> Box | None:
    side = min(size) * fraction
    if size == (side, side):
        return None
    left, top = (size[0] - side) / 2, (size[1] - side) / 2
    return left, top, left + side, top + side

"""How Pillow scales a picture, in numbers that a kernel can work by.

What comes out is equal to Pillow's to the bit: sums of 22-bit fixed-point weights, first along one side into bytes, then along the other.
Sources are not copied: a picture that EXIF turns is read in another order, by its strides.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import PIL

from imagejob_api.pipeline import Preprocess
from imagejob_runner.images.preprocess import Place, placed
from imagejob_runner.images.scaling import REDUCING_GAP

SUPPORT: Final[Mapping[str, float]] = {"bilinear": 1.0, "bicubic": 2.0, "lanczos": 3.0}
"""Half the width of each filter, in pixels of the smaller picture."""
_ROWS_FIRST_SINCE: Final = 13
"""Pillow's major version from which tall pictures are scaled along their height first."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a picture, and what it is scaled to."""

    pixels: int
    """Of the whole picture."""
    low: float
    """Edge of the part that is scaled, in pixels; a float32."""
    scale: float
    """Pixels of the picture for one of the result."""
    result: int
    """Pixels of the result."""

    def taps(self, support: float) -> int:
        """Most pixels that one of the result is made of."""
        return _taps(support * max(self.scale, 1.0))

    def used(self, support: float) -> tuple[int, int]:
        """First pixel that any of the result is made of, and the one after the last."""
        reach = support * max(self.scale, 1.0)
        first = int(self.low + 0.5 * self.scale - reach + 0.5)
        last = int(self.low + (self.result - 0.5) * self.scale + reach + 0.5)
        return max(first, 0), min(last, self.pixels)


@dataclass(frozen=True, slots=True)
class Scaling:
    """How a picture becomes a part of a model's input."""

    first: Side
    """The side that is scaled first: its width, unless `rows_first`."""
    second: Side
    """The other one."""
    rows_first: bool
    """Whether the height is scaled first."""
    orientation: int
    """EXIF's, of what turns the stored picture upright."""
    offset: tuple[int, int]
    """Column and row of the result's left upper corner in the input."""


def most_taps(support: float) -> int:
    """Most pixels that one pixel of any result of `scaling` is made of."""
    return _taps(support * 2 * REDUCING_GAP)


def _taps(reach: float) -> int:
    return math.ceil(reach) * 2 + 1


def scaling(width: int, height: int, orientation: int, preprocess: Preprocess) -> Scaling | None:
    """How Pillow scales a picture for a model, when it is turned upright.

    Args:
        width: As stored, in pixels.
        height: As stored.
        orientation: EXIF's; 1 if nothing is turned.
        preprocess: Size, method and filter.

    Returns:
        None where it does something else first (averages a picture that is more than six times too large) or takes the nearest pixels.
    """
    if preprocess.filter not in SUPPORT:
        return None
    size = upright(orientation, width, height)
    place = placed(size, preprocess)
    box = place.box or (0.0, 0.0, float(size[0]), float(size[1]))
    # See PIL.Image.Image.resize: what `reducing_gap` does.
    if any(int((box[side + 2] - box[side]) / place.size[side] / REDUCING_GAP) > 1 for side in (0, 1)):
        return None
    across, down = (_side(size[side], box[side], box[side + 2], place.size[side]) for side in (0, 1))
    rows_first = _rows_first(size, place)
    return Scaling(*((down, across) if rows_first else (across, down)), rows_first, orientation, place.offset)


def _side(pixels: int, low: float, high: float, result: int) -> Side:
    # Pillow takes the box as float32, and subtracts so.
    start, end = np.float32(low), np.float32(high)
    return Side(pixels, float(start), float(end - start) / result, result)


def _rows_first(size: tuple[int, int], place: Place) -> bool:
    if int(PIL.__version__.split(".", maxsplit=1)[0]) < _ROWS_FIRST_SINCE:
        return False
    # Found by trying: of the whole picture's sides, whatever the box; a side that grows counts as one that stays.
    return size[1] - place.size[1] > 2 * max(0, size[0] - place.size[0])


def strides(orientation: int, width: int, height: int, row: int, pixel: int = 3) -> tuple[int, int, int]:
    """How to read a picture upright.

    Args:
        orientation: EXIF's, 1 to 8; others count as 1.
        width: As stored, in pixels.
        height: As stored.
        row: Bytes from one stored row to the next.
        pixel: Bytes from one stored pixel to the next.

    Returns:
        Bytes from the start of the picture to its upright left upper pixel, and from there to the next upright column and row.
    """
    right, down = (width - 1) * pixel, (height - 1) * row
    return {
        2: (right, -pixel, row),
        3: (right + down, -pixel, -row),
        4: (down, pixel, -row),
        5: (0, row, pixel),
        6: (down, -row, pixel),
        7: (right + down, -row, -pixel),
        8: (right, row, -pixel),
    }.get(orientation, (0, pixel, row))


def upright(orientation: int, width: int, height: int) -> tuple[int, int]:
    """Width and height of a picture after it is turned."""
    return (height, width) if orientation in range(5, 9) else (width, height)

"""What the kernels compute, in numpy and float64, a line at a time: a reference to read."""

import numpy as np

from imagejob_api.pipeline import Preprocess
from imagejob_runner.device.geometry import SUPPORT, Scaling, Side

BITS = 22


def scaled(picture: np.ndarray, how: Scaling, preprocess: Preprocess, background: int) -> np.ndarray:
    """A model's input of an upright picture.

    Args:
        picture: Shape (height, width, 3), type uint8.
        how: What `geometry.scaling` says of it.
        preprocess: What `how` was made for.
        background: Value of what is left open.
    """
    lines = picture.transpose(1, 0, 2) if how.rows_first else picture
    lines = _along_columns(lines, how.first, preprocess.filter).transpose(1, 0, 2)
    lines = _along_columns(lines, how.second, preprocess.filter).transpose(1, 0, 2)
    result = lines.transpose(1, 0, 2) if how.rows_first else lines
    array = np.full((preprocess.size, preprocess.size, 3), background, np.uint8)
    left, top = how.offset
    array[top : top + result.shape[0], left : left + result.shape[1]] = result
    return array


def _along_columns(lines: np.ndarray, side: Side, name: str) -> np.ndarray:
    result = np.empty((lines.shape[0], side.result, 3), np.uint8)
    wide = max(side.scale, 1.0)
    for place in range(side.result):
        centre = side.low + (place + 0.5) * side.scale
        first = max(int(centre - SUPPORT[name] * wide + 0.5), 0)
        last = min(int(centre + SUPPORT[name] * wide + 0.5), side.pixels)
        weights = _filter((np.arange(first, last) - centre + 0.5) * (1 / wide), name)
        weights = weights / weights.sum() * (1 << BITS)
        fixed = np.trunc(weights + np.where(weights < 0, -0.5, 0.5)).astype(np.int64)
        total = np.tensordot(lines[:, first:last].astype(np.int64), fixed, axes=(1, 0)) + (1 << (BITS - 1))
        result[:, place] = np.clip(total >> BITS, 0, 255)
    return result


def _filter(distance: np.ndarray, name: str) -> np.ndarray:
    x = np.abs(distance)
    if name == "bilinear":
        return np.clip(1 - x, 0, None)
    if name == "bicubic":
        return np.select([x < 1, x < 2], [(1.5 * x - 2.5) * x * x + 1, (((x - 5) * x + 8) * x - 4) * -0.5], 0.0)
    return np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0.0)

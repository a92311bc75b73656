"""Scaling many pictures of different sizes on a GPU, straight into a batch of model inputs, equal to Pillow's to the bit."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from imagejob_api.pipeline import Preprocess
from imagejob_runner.device.geometry import SUPPORT, Scaling, most_taps, strides
from imagejob_runner.device.kernels import Column, scale_first, scale_second, weigh
from imagejob_runner.device.picture import Picture

_LINES: Final = 4
_LANES: Final = 256
_RESULTS: Final = 32
"""What one program of a kernel works on; not yet tuned on a GPU."""


def resize(pictures: Sequence[Picture], how: Sequence[Scaling], batch: torch.Tensor, places: Sequence[int], preprocess: Preprocess) -> None:
    """Scales pictures into a batch, on the stream that is the calling thread's. Returns before that is done.

    Args:
        pictures: At least one. Their memory must stay until the stream has come by, or be freed in its order.
        how: What `geometry.scaling` says of each.
        batch: The inputs, shape (images, size, size, 3), type uint8, contiguous, on the pictures' device.
        places: Which of the inputs each becomes.
        preprocess: What `how` was made for; what it leaves open keeps its value.
    """
    support, size = SUPPORT[preprocess.filter], preprocess.size
    table, sides, bytes_between = _table(pictures, how, places, size, support)
    # As many as there can be, so that Triton compiles once.
    taps = _power_of_two(most_taps(support))
    lines = int(table[:, Column.LINES].max())
    device, count = batch.device, len(pictures)
    known, edges = _sent(table, device), _sent(sides, device)
    starts = torch.empty(2 * count, size, dtype=torch.int32, device=device)
    weights = torch.empty(2 * count, taps, size, dtype=torch.int32, device=device)
    middle = torch.empty(bytes_between, dtype=torch.uint8, device=device)
    blocks = -(-3 * size // _LANES)
    # A product and a sum that are fused would round otherwise than Pillow's.
    weigh[(2 * count, -(-size // _RESULTS))](
        known, edges, starts, weights, size, SUPPORT=int(support), TAPS=taps, RESULTS=_RESULTS, enable_fp_fusion=False
    )
    block = {"TAPS": taps, "LINES": _LINES, "LANES": _LANES, "enable_fp_fusion": False}
    scale_first[(count, -(-lines // _LINES), blocks)](known, starts, weights, middle, size, **block)
    scale_second[(count, -(-size // _LINES), blocks)](known, starts, weights, middle, batch, size, **block)


def _table(
    pictures: Sequence[Picture], how: Sequence[Scaling], places: Sequence[int], size: int, support: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """The kernels' tables, and the bytes that all half-scaled pictures take."""
    table = np.empty((len(pictures), len(Column)), np.int64)
    sides = np.empty((len(pictures), 4), np.float64)
    middle = 0
    for row, (picture, scaling, place) in enumerate(zip(pictures, how, places, strict=True)):
        first, second = scaling.first, scaling.second
        start, right, down = strides(scaling.orientation, picture.width, picture.height, picture.row)
        begin, end = second.used(support)
        column, line = scaling.offset
        along, across = (3 * size, 3) if scaling.rows_first else (3, 3 * size)
        table[row] = (
            picture.address + start,
            *((down, right) if scaling.rows_first else (right, down)),
            *(first.pixels, first.result, first.taps(support)),
            *(second.pixels, second.result, second.taps(support)),
            *(begin, end - begin),
            middle,
            3 * (size * (size * place + line) + column),
            *(along, across),
        )
        sides[row] = first.low, first.scale, second.low, second.scale
        middle += 3 * first.result * (end - begin)
    return table, sides, middle


def _sent(values: np.ndarray, device: torch.device) -> torch.Tensor:
    there = torch.from_numpy(values)
    return there if device.type == "cpu" else there.pin_memory().to(device, non_blocking=True)


def _power_of_two(number: int) -> int:
    """The smallest one that is not below `number`."""
    return 1 << (number - 1).bit_length()

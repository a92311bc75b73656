"""Triton kernels that scale a whole batch of pictures of different sizes, in one launch for each pass. Loaded where there is a GPU.

Each picture has a row in a table of int64, whose columns are `Column`, and one in a table of float64 (low and scale of its first side, then
of its second one). See `geometry` for what is computed.
"""

from enum import IntEnum

import triton
import triton.language as tl


class Column(IntEnum):
    """What stands where in a picture's row of the table."""

    SOURCE = 0
    """Address of its upright left upper pixel."""
    ALONG_FIRST = 1
    """Bytes from one pixel to the next along the first side."""
    ALONG_SECOND = 2
    """The same along the second one."""
    FIRST_PIXELS = 3
    FIRST_RESULT = 4
    FIRST_TAPS = 5
    SECOND_PIXELS = 6
    SECOND_RESULT = 7
    SECOND_TAPS = 8
    LINES_BEGIN = 9
    """First line across the second side that is needed."""
    LINES = 10
    """How many of them."""
    MIDDLE = 11
    """Where its half-scaled lines begin, in bytes."""
    RESULT = 12
    """Where its result begins, in bytes from the start of the batch."""
    RESULT_ALONG_FIRST = 13
    RESULT_ALONG_SECOND = 14


COLUMNS = tl.constexpr(len(Column))
BITS = tl.constexpr(22)
"""Of a weight, after the point."""
ONE = tl.constexpr(1 << 22)
HALF = tl.constexpr(1 << 21)
PI = tl.constexpr(3.14159265358979323846)

_SOURCE = tl.constexpr(int(Column.SOURCE))
_ALONG_FIRST = tl.constexpr(int(Column.ALONG_FIRST))
_ALONG_SECOND = tl.constexpr(int(Column.ALONG_SECOND))
_FIRST_PIXELS = tl.constexpr(int(Column.FIRST_PIXELS))
_FIRST_RESULT = tl.constexpr(int(Column.FIRST_RESULT))
_FIRST_TAPS = tl.constexpr(int(Column.FIRST_TAPS))
_SECOND_RESULT = tl.constexpr(int(Column.SECOND_RESULT))
_SECOND_TAPS = tl.constexpr(int(Column.SECOND_TAPS))
_LINES_BEGIN = tl.constexpr(int(Column.LINES_BEGIN))
_LINES = tl.constexpr(int(Column.LINES))
_MIDDLE = tl.constexpr(int(Column.MIDDLE))
_RESULT = tl.constexpr(int(Column.RESULT))
_RESULT_ALONG_FIRST = tl.constexpr(int(Column.RESULT_ALONG_FIRST))
_RESULT_ALONG_SECOND = tl.constexpr(int(Column.RESULT_ALONG_SECOND))
_SIDE_COLUMNS = tl.constexpr(int(Column.SECOND_PIXELS) - int(Column.FIRST_PIXELS))


@triton.jit
def _filter(x, SUPPORT: tl.constexpr):
    x = tl.abs(x)
    if SUPPORT == 1:  # bilinear
        return tl.where(x < 1.0, 1.0 - x, 0.0)
    if SUPPORT == 2:  # bicubic
        near = (1.5 * x - 2.5) * x * x + 1.0
        far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
        return tl.where(x < 1.0, near, tl.where(x < 2.0, far, 0.0))
    angle = tl.where(x == 0.0, 1.0, x * PI)  # lanczos
    third = tl.where(x == 0.0, 1.0, (x / 3.0) * PI)
    wave = (tl.sin(angle) / angle) * (tl.sin(third) / third)
    return tl.where(x == 0.0, 1.0, tl.where(x < 3.0, wave, 0.0))


@triton.jit
def weigh(table, sides, starts, weights, size, SUPPORT: tl.constexpr, TAPS: tl.constexpr, RESULTS: tl.constexpr):
    """Weights of each pixel of the results, shape (2 * pictures, TAPS, size), int32, and the first pixel that each is made of.

    Grid: 2 * pictures, results in blocks of RESULTS.
    """
    side = tl.program_id(0).to(tl.int64)
    picture, which = side // 2, side % 2
    row = table + picture * COLUMNS + which * _SIDE_COLUMNS
    pixels, results = tl.load(row + _FIRST_PIXELS), tl.load(row + _FIRST_RESULT)
    low, scale = tl.load(sides + side * 2), tl.load(sides + side * 2 + 1)
    result = tl.program_id(1) * RESULTS + tl.arange(0, RESULTS)
    wide = tl.maximum(scale, 1.0)
    reach = wide * SUPPORT
    centre = low + (result.to(tl.float64) + 0.5) * scale
    first = tl.maximum((centre - reach + 0.5).to(tl.int64), 0)
    last = tl.minimum((centre + reach + 0.5).to(tl.int64), pixels)
    tap = tl.arange(0, TAPS)[None, :]
    within = tap < (last - first)[:, None]
    distance = ((tap + first[:, None]).to(tl.float64) - centre[:, None] + 0.5) * (1.0 / wide)
    weight = tl.where(within, _filter(distance, SUPPORT), 0.0)
    total = tl.sum(weight, axis=1)[:, None]
    weight = tl.where(total != 0.0, weight / tl.where(total != 0.0, total, 1.0), weight) * ONE
    fixed = (weight + tl.where(weight < 0.0, -0.5, 0.5)).to(tl.int32)
    known = result < results
    tl.store(starts + side * size + result, first.to(tl.int32), mask=known)
    tl.store(weights + side * TAPS * size + tap * size + result[:, None], fixed, mask=known[:, None])


@triton.jit
def scale_first(table, starts, weights, middle, size, TAPS: tl.constexpr, LINES: tl.constexpr, LANES: tl.constexpr):
    """Scales the first side of every picture, of the lines that its second side needs, into bytes.

    Grid: pictures, lines in blocks of LINES, values of a line in blocks of LANES.
    """
    picture = tl.program_id(0).to(tl.int64)
    row = table + picture * COLUMNS
    lines = tl.load(row + _LINES)
    line = tl.program_id(1) * LINES + tl.arange(0, LINES)
    if tl.program_id(1) * LINES < lines:
        values = tl.load(row + _FIRST_RESULT) * 3
        lane = tl.program_id(2) * LANES + tl.arange(0, LANES)
        known = (line < lines)[:, None] & (lane < values)[None, :]
        result, channel = lane // 3, lane % 3
        along, across, pixels = tl.load(row + _ALONG_FIRST), tl.load(row + _ALONG_SECOND), tl.load(row + _FIRST_PIXELS)
        begins = tl.load(row + _SOURCE) + (line + tl.load(row + _LINES_BEGIN)) * across
        source = begins[:, None] + channel[None, :]
        first = tl.load(starts + 2 * picture * size + result, mask=lane < values, other=0)
        weight_of = weights + 2 * picture * TAPS * size + result
        total = tl.full((LINES, LANES), HALF, tl.int32)
        for tap in range(tl.load(row + _FIRST_TAPS).to(tl.int32)):
            weight = tl.load(weight_of + tap * size, mask=lane < values, other=0)
            pixel = tl.minimum((first + tap).to(tl.int64), pixels - 1) * along
            value = tl.load((source + pixel[None, :]).to(tl.pointer_type(tl.uint8)), mask=known, other=0)
            total += value.to(tl.int32) * weight[None, :]
        byte = tl.minimum(tl.maximum(total >> BITS, 0), 255).to(tl.uint8)
        tl.store(middle + tl.load(row + _MIDDLE) + line[:, None] * values + lane[None, :], byte, mask=known)


@triton.jit
def scale_second(table, starts, weights, middle, batch, size, TAPS: tl.constexpr, LINES: tl.constexpr, LANES: tl.constexpr):
    """Scales the second side, into the batch.

    Grid: pictures, results along the second side in blocks of LINES, values along the first one in blocks of LANES.
    """
    picture = tl.program_id(0).to(tl.int64)
    row = table + picture * COLUMNS
    results = tl.load(row + _SECOND_RESULT)
    result = tl.program_id(1) * LINES + tl.arange(0, LINES)
    if tl.program_id(1) * LINES < results:
        values, lines = tl.load(row + _FIRST_RESULT) * 3, tl.load(row + _LINES)
        lane = tl.program_id(2) * LANES + tl.arange(0, LANES)
        known = (result < results)[:, None] & (lane < values)[None, :]
        side = 2 * picture + 1
        first = tl.load(starts + side * size + result, mask=result < results, other=0) - tl.load(row + _LINES_BEGIN)
        weight_of = weights + side * TAPS * size + result
        source = middle + tl.load(row + _MIDDLE) + lane[None, :]
        total = tl.full((LINES, LANES), HALF, tl.int32)
        for tap in range(tl.load(row + _SECOND_TAPS).to(tl.int32)):
            weight = tl.load(weight_of + tap * size, mask=result < results, other=0)
            line = tl.minimum(first + tap, lines - 1)
            value = tl.load(source + line[:, None] * values, mask=known, other=0)
            total += value.to(tl.int32) * weight[:, None]
        byte = tl.minimum(tl.maximum(total >> BITS, 0), 255).to(tl.uint8)
        along, across = tl.load(row + _RESULT_ALONG_FIRST), tl.load(row + _RESULT_ALONG_SECOND)
        there = tl.load(row + _RESULT) + result[:, None] * across + (lane // 3 * along + lane % 3)[None, :]
        tl.store(batch + there, byte, mask=known)

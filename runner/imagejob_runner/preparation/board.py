"""Where each worker writes what it is at, so that it is known when the worker ends in the middle of it; and what all are told at once."""

import struct
import time
from dataclasses import dataclass
from typing import Final

from imagejob_runner.preparation.arena import SharedMemory

DOWNLOAD: Final = 0
DECODE: Final = 1
"""Steps of a preparation."""
_ENTRY: Final = struct.Struct("qqq")
_DEVICE: Final = struct.Struct("d")
_NO_DEVICE: Final = -1.0
_NOBODY: Final = -1


@dataclass(frozen=True, slots=True)
class Standing:
    """What a worker is at."""

    number: int
    """Of the image."""
    step: int
    """`DOWNLOAD` or `DECODE`."""
    since: float
    """When it began, on the monotonic clock, in seconds."""


class Board:
    """The entries of all workers of a pool, and one about the device.

    Args:
        shared: Where they are; see `size`.
        workers: How many there are.
    """

    def __init__(self, shared: SharedMemory, workers: int) -> None:
        self._shared = shared
        self._device = _ENTRY.size * workers

    @staticmethod
    def size(workers: int) -> int:
        """Bytes that the entries of so many workers take, and the one about the device."""
        return _ENTRY.size * workers + _DEVICE.size

    @property
    def device(self) -> float | None:
        """Seconds of decoding that a device has been handed and is not through with; None if none decodes."""
        (seconds,) = _DEVICE.unpack_from(self._shared.memory, self._device)
        return None if seconds < 0 else float(seconds)

    @device.setter
    def device(self, seconds: float | None) -> None:
        _DEVICE.pack_into(self._shared.memory, self._device, _NO_DEVICE if seconds is None else max(0.0, seconds))

    def entry(self, worker: int) -> "Entry":
        """Where one worker writes."""
        return Entry(memoryview(self._shared.memory)[worker * _ENTRY.size : (worker + 1) * _ENTRY.size].cast("q"))

    def clear(self, worker: int) -> None:
        """A worker has ended."""
        self.entry(worker).rest()

    def standing(self, worker: int) -> Standing | None:
        """What a worker is at, or says that it is; None when it is at nothing that it could hang in."""
        number, step, since = _ENTRY.unpack_from(self._shared.memory, worker * _ENTRY.size)
        if number < 0 or step not in (DOWNLOAD, DECODE):
            return None
        return Standing(number, step, since / 1e9)


class Entry:
    """The entry of one worker, cleared."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self.rest()

    def begin(self, number: int, step: int) -> None:
        """A step of an image begins."""
        view = self._view
        view[0] = _NOBODY
        view[1], view[2] = step, time.monotonic_ns()
        view[0] = number

    def rest(self) -> None:
        """Nothing is being done."""
        self._view[0] = _NOBODY

"""Memory that the runner shares with its workers: a file without a name, which is gone with the last process that has it.

/dev/shm would do the same, but is small in pods, and what lies there outlives a kill.
"""

import contextlib
import fcntl
import mmap
import os
from collections.abc import Sequence
from typing import Final, Self

_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class SharedMemory:
    """Bytes that several processes see.

    Attributes:
        descriptor: The file, to be handed to other processes.
        memory: The bytes.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self.memory = mmap.mmap(descriptor, size)

    @classmethod
    def create(cls, name: str, size: int) -> Self:
        """New zeroed memory; pages that nobody touches cost nothing.

        Args:
            name: What the kernel calls it in lists of mappings.
            size: Bytes, at least one.
        """
        descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, size)
            # A worker that has been taken over must not take the memory away under the runner's feet.
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            return cls(descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise

    def close(self) -> None:
        """Closes the file; the bytes go now, or with the last view of them."""
        os.close(self.descriptor)
        with contextlib.suppress(BufferError):
            self.memory.close()


class Slots:
    """Which places of an arena are free.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self._free = bytearray(b"\1" * count)
        self.free = count
        """How many are free now."""
        self._next = 0

    def take(self, count: int) -> list[int]:
        """Takes `count` places, side by side if such are free; else in as few runs as are found quickly.

        Raises:
            ValueError: Fewer are free.
        """
        if count > self.free:
            raise ValueError(f"{count} slots were asked for and {self.free} are free")
        taken: list[int] = []
        run = count
        while count:
            # Images are released about in the order in which they came: who goes round finds long runs.
            start = self._free.find(b"\1" * run, self._next)
            if start < 0:
                start = self._free.find(b"\1" * run)
            if start < 0:
                run = (run + 1) // 2
                continue
            taken += range(start, start + run)
            self._free[start : start + run] = bytes(run)
            self._next = start + run
            self.free -= run
            count -= run
            run = min(run, count)
        return taken

    def give_back(self, slots: Sequence[int]) -> None:
        """The places are free again."""
        for slot in slots:
            self._free[slot] = 1
        self.free += len(slots)

"""How many images may be on the way to the gate, and beyond it until a step takes them up."""

import asyncio


class Places:
    """A number of places, taken and given back many at once.

    Args:
        count: How many there are, at least one.
    """

    def __init__(self, count: int) -> None:
        self._free = max(1, count)
        self._changed = asyncio.Event()

    async def take(self, most: int) -> int:
        """Waits until there is a free place, and takes as many as there are, up to `most`; returns how many."""
        while self._free <= 0:
            self._changed.clear()
            await self._changed.wait()
        taken = min(most, self._free)
        self._free -= taken
        return taken

    def give_back(self, count: int) -> None:
        """Frees places."""
        self._free += count
        self._changed.set()

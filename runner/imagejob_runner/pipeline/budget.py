"""Memory is bounded by bytes and pixels in flight, not by a count of images.

An image of a younger chunk may hold its share while it waits for an older chunk to finish. If the older chunk then had to wait for that
share,
neither would ever move; so a request counts only what its own and older chunks hold. In the worst case two chunks each use the whole
budget.
"""

import asyncio
from collections import Counter


class Budget:
    """An amount (bytes, pixels) that images take before they need it and give back after.

    Args:
        limit: The amount; a single request larger than it is served when nothing older is held.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: Counter[int] = Counter()
        self._changed = asyncio.Condition()

    @property
    def used(self) -> int:
        """What is held at this moment."""
        return self._held.total()

    def take_now(self, chunk: int, amount: int) -> bool:
        """Takes `amount` for an image of the chunk with this sequence number if it is free; tells whether it was."""
        if not self._fits(chunk, amount):
            return False
        self._held[chunk] += amount
        return True

    async def take(self, chunk: int, amount: int) -> None:
        """As `take_now`, waiting until the amount is free."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.take_now(chunk, amount))

    async def give_back(self, chunk: int, amount: int) -> None:
        """Gives `amount` back; a negative amount takes more without waiting."""
        if amount == 0:
            return
        async with self._changed:
            self._held[chunk] -= amount
            if self._held[chunk] <= 0:
                del self._held[chunk]
            self._changed.notify_all()

    def _fits(self, chunk: int, amount: int) -> bool:
        ahead = sum(held for owner, held in self._held.items() if owner <= chunk)
        return ahead == 0 or ahead + amount <= self._limit

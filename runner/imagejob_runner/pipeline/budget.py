"""Memory is bounded by bytes in flight, encoded and decoded, not by a count of images.

An image of a younger chunk may hold its share while it waits for an older chunk to finish. If the older chunk then had to wait for that
share, neither would ever move; so a request counts only what its own and older chunks hold. In the worst case two chunks each use the whole
budget.
"""

import asyncio
from collections import Counter


class Budget:
    """An amount of bytes that images take before they need it and give back after.

    Args:
        limit: The amount; a single request larger than it is served when nothing older is held.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """The amount."""
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
        return ahead == 0 or ahead + amount <= self.limit


class Door:
    """Lets decodings in: small ones side by side, a large one only by itself. Whoever is inside comes out without waiting for others."""

    def __init__(self) -> None:
        self._inside = 0
        self._alone = False
        self._large_waiting = 0
        self._changed = asyncio.Condition()

    def enter_now(self, *, alone: bool) -> bool:
        """Goes in if that is possible at once; tells whether it was."""
        if not self._may_enter(alone=alone):
            return False
        self._inside, self._alone = self._inside + 1, alone
        return True

    async def enter(self, *, alone: bool) -> None:
        """As `enter_now`, waiting until it is possible. A large one that waits lets no further small ones in."""
        async with self._changed:
            self._large_waiting += alone
            try:
                await self._changed.wait_for(lambda: self._may_enter(alone=alone))
            finally:
                self._large_waiting -= alone
                self._changed.notify_all()
            self._inside, self._alone = self._inside + 1, alone

    async def leave(self) -> None:
        """Comes out."""
        async with self._changed:
            self._inside, self._alone = self._inside - 1, False
            self._changed.notify_all()

    def _may_enter(self, *, alone: bool) -> bool:
        return not self._alone and (self._inside == 0 if alone else self._large_waiting == 0)

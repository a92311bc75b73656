"""A bounded queue between two stages that can be closed.

asyncio.Queue cannot be closed before Python 3.13, and a stage needs to know three things that a queue does not tell: that nothing will
come any
more, how much is ready now, and whether the stage after it is behind.
"""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """A first-in, first-out queue of at most `capacity` items, used within one event loop.

    Args:
        capacity: Items that may wait in it, at least 1.
        producers: How many `close` calls end the stream.
    """

    def __init__(self, capacity: int, producers: int = 1) -> None:
        self._items: deque[T] = deque()
        self._capacity = max(1, capacity)
        self._producers = producers
        self._dropped = False
        self._changed = asyncio.Condition()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        """Whether a `put` would wait now."""
        return len(self._items) >= self._capacity

    @property
    def closed(self) -> bool:
        """Whether nothing more will be put in; items may still be inside."""
        return self._producers <= 0

    async def put(self, item: T) -> None:
        """Adds an item, waiting for room. After a close with `drop` it is discarded."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.full or self._dropped)
            if self._dropped:
                return
            self._items.append(item)
            self._changed.notify_all()

    async def take(self, most: int) -> list[T]:
        """Takes up to `most` items that are ready now, oldest first, without waiting."""
        async with self._changed:
            taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
            self._changed.notify_all()
            return taken

    async def wait_ready(self, least: int = 1) -> bool:
        """Waits until so many items can be taken, or the channel is closed; whether any is there."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._items) >= least or self.closed)
            return bool(self._items)

    def expect(self) -> None:
        """There is one producer more, whose `close` is waited for too. After a close with `drop` nobody is waited for."""
        if not self._dropped:
            self._producers += 1

    async def close(self, *, drop: bool = False) -> None:
        """One producer is done; with `drop`, all are, and what waits inside is discarded."""
        async with self._changed:
            self._producers = 0 if drop else self._producers - 1
            if drop:
                self._dropped = True
                self._items.clear()
            self._changed.notify_all()

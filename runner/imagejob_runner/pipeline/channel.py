"""A bounded queue between two stages that can be closed, and that moves many items at once.

asyncio.Queue cannot be closed before Python 3.13, and a stage needs to know three things that a queue does not tell: that nothing will
come any more, how much is ready now, and whether the stage after it is behind.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """A first-in, first-out queue of at most `capacity` items, used within one event loop.

    Args:
        capacity: Items that may wait in it, at least 1.
        producers: How many `close` calls end the stream.
        taken: Called with each number of items that are taken out.
    """

    def __init__(self, capacity: int, producers: int = 1, taken: Callable[[Sequence[T]], None] | None = None) -> None:
        self._items: deque[T] = deque()
        self._capacity = max(1, capacity)
        self._producers = producers
        self._taken = taken
        self._dropped = False
        self._waiting: list[asyncio.Future[None]] = []

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

    async def put(self, items: Sequence[T]) -> None:
        """Adds items in order, as many at once as there is room for, waiting for room. After a close with `drop` they are discarded."""
        added = 0
        while added < len(items):
            await self._wait(lambda: not self.full or self._dropped)
            room = self._capacity - len(self._items)
            self.add(items[added : added + room])
            added += room

    def add(self, items: Sequence[T]) -> None:
        """Adds items without waiting, whatever the capacity: for who bounds them otherwise."""
        if not self._dropped:
            self._items.extend(items)
            self._wake()

    def take(self, most: int) -> list[T]:
        """Takes up to `most` items that are ready now, oldest first."""
        taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
        if taken:
            self._wake()
            if self._taken is not None:
                self._taken(taken)
        return taken

    async def wait_ready(self, least: int = 1) -> bool:
        """Waits until so many items can be taken, or the channel is closed; whether any is there."""
        await self._wait(lambda: len(self._items) >= least or self.closed)
        return bool(self._items)

    def expect(self) -> None:
        """There is one producer more, whose `close` is waited for too. After a close with `drop` nobody is waited for."""
        if not self._dropped:
            self._producers += 1

    def close(self, *, drop: bool = False) -> None:
        """One producer is done; with `drop`, all are, and what waits inside is discarded."""
        self._producers = 0 if drop else self._producers - 1
        if drop:
            self._dropped = True
            self._items.clear()
        self._wake()

    async def _wait(self, condition: Callable[[], bool]) -> None:
        while not condition():
            change = asyncio.get_running_loop().create_future()
            self._waiting.append(change)
            await change

    def _wake(self) -> None:
        woken, self._waiting = self._waiting, []
        for change in woken:
            if not change.done():
                change.set_result(None)

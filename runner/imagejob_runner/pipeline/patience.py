"""Waits that end when the run is stopped: for a slot or for memory that somebody else has, or before another attempt.

An image that is being computed is worth its end; one that only waits for its turn is not worth holding up Ctrl-C for minutes.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class Patience:
    """The workers, and the images, that wait."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Task[object]] = set()
        self._ended = False

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """Awaits; when the run is stopped, the task that waits is cancelled."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine is run by a task
        if self._ended:
            task.cancel()
        self._waiting.add(task)
        try:
            return await awaitable
        finally:
            self._waiting.discard(task)

    async def sleep(self, seconds: float) -> None:
        """`asyncio.sleep`, until the run is stopped."""
        await self.wait(asyncio.sleep(seconds))

    def end(self) -> None:
        """The run is stopped, or over."""
        self._ended = True
        for task in self._waiting:
            task.cancel()

"""What the works of all kinds of steps have in common."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TypeVar

from imagejob_runner.pipeline.budget import Budget
from imagejob_runner.pipeline.flight import Flight

T = TypeVar("T")


class NoRoom(Exception):  # noqa: N818  a reason to wait, not an error
    """An image needs memory that others hold.

    Args:
        wait: Returns when the image holds what it needs.
    """

    def __init__(self, wait: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.wait = wait


class Work(Protocol):
    """One step's work on one image."""

    async def run(self, flight: Flight) -> None:
        """Works on the image in place.

        Raises:
            ImageError: The image fails.
            SkipImage: The image is left out.
            NoRoom: The image has to wait for memory, and is worked on again when it has it.
        """

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Memory:
    """What images in flight may hold together."""

    bytes: Budget
    pixels: Budget

    def hold_bytes(self, flight: Flight, amount: int) -> None:
        """Takes bytes for an image that holds none yet.

        Raises:
            NoRoom: They are not free now.
        """

        def note() -> None:
            flight.held_bytes = amount

        _hold(self.bytes, flight, amount, note)

    def hold_pixels(self, flight: Flight, amount: int) -> None:
        """Takes pixels for an image that holds none yet.

        Raises:
            NoRoom: They are not free now.
        """

        def note() -> None:
            flight.held_pixels = amount

        _hold(self.pixels, flight, amount, note)

    async def give_back(self, flight: Flight) -> None:
        """An image has ended: frees all it held."""
        await self.bytes.give_back(flight.chunk.sequence, flight.held_bytes)
        await self.pixels.give_back(flight.chunk.sequence, flight.held_pixels)
        flight.held_bytes = flight.held_pixels = 0
        flight.item.data = flight.item.image = flight.item.array = None


def _hold(budget: Budget, flight: Flight, amount: int, note: Callable[[], None]) -> None:
    async def wait() -> None:
        await budget.take(flight.chunk.sequence, amount)
        note()

    if not budget.take_now(flight.chunk.sequence, amount):
        raise NoRoom(wait)
    note()


class PlainWork:
    """A work without resources of its own."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    async def run(self, flight: Flight) -> None:
        """Nothing to do: the row is committed with its chunk."""


async def in_thread(threads: ThreadPoolExecutor, function: Callable[..., T], *arguments: object) -> T:
    """Calls a function in one of the threads.

    A thread cannot be interrupted: who is cancelled, as by a timeout, goes on when the function has returned. Until then what it works on,
    the device and the slot are in use, whoever gave up waiting. A call that has not begun is dropped.
    """
    running = threads.submit(function, *arguments)
    answer = asyncio.wrap_future(running)
    try:
        return await asyncio.shield(answer)
    except asyncio.CancelledError:
        if not running.cancel():
            await asyncio.wait([answer])
        raise

"""What the works of all kinds of steps have in common."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, TypeVar

from imagejob_runner.pipeline.budget import Budget, Door
from imagejob_runner.pipeline.flight import Flight
from imagejob_runner.pipeline.suspects import Suspects

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


def _nothing(flights: Iterable[Flight]) -> None:
    """There is no shared memory."""


@dataclass(slots=True)
class Memory:
    """What images in flight may hold together.

    Attributes:
        bytes: Encoded bytes.
        decoded: Bytes that decoding takes, and then what is decoded.
        large: Bytes from which a decoding goes alone.
        suspects: Notes of large decodings.
        door: Lets decodings in.
        release_inputs: Frees the slots of shared memory that images have, many at once.
    """

    bytes: Budget
    decoded: Budget
    large: int
    suspects: Suspects
    door: Door = field(default_factory=Door)
    release_inputs: Callable[[Iterable[Flight]], None] = _nothing

    def hold_bytes(self, flight: Flight, amount: int) -> None:
        """Takes bytes for an image that holds none yet.

        Raises:
            NoRoom: They are not free now.
        """

        def note() -> None:
            flight.held_bytes = amount

        _hold(self.bytes, flight, amount, note)

    def hold_decoded(self, flight: Flight, amount: int) -> None:
        """Takes bytes for the decoding of an image that holds none for that yet.

        Raises:
            NoRoom: They are not free now.
        """

        def note() -> None:
            flight.held_memory = amount

        _hold(self.decoded, flight, amount, note)

    def let_in(self, flight: Flight, *, alone: bool) -> None:
        """Lets an image be decoded.

        Raises:
            NoRoom: Not now: a large one is being decoded, or this is one and others are.
        """

        async def wait() -> None:
            await self.door.enter(alone=alone)
            flight.decoding = True

        if not flight.decoding:
            if not self.door.enter_now(alone=alone):
                raise NoRoom(wait)
            flight.decoding = True

    async def let_out(self, flight: Flight) -> None:
        """The image is decoded, or will not be."""
        if flight.decoding:
            flight.decoding = False
            await self.door.leave()

    async def give_back(self, flight: Flight) -> None:
        """An image has ended: frees all it held."""
        if flight.held_bytes or flight.held_memory:
            await self.bytes.give_back(flight.chunk.sequence, flight.held_bytes)
            await self.decoded.give_back(flight.chunk.sequence, flight.held_memory)
        await self.let_out(flight)
        if flight.slot is not None:
            self.release_inputs([flight])
        flight.held_bytes = flight.held_memory = 0
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

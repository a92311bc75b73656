"""Images and chunks in flight, and the gate between preparing and computing."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from imagejob_runner.exceptions import ImageError, SkipImage
from imagejob_runner.item import ImageItem
from imagejob_runner.pipeline.progress import Outcome
from imagejob_runner.rows import Row, row_of

UNWRITTEN_CHUNKS: Final = 8
"""Chunks that may be whole and wait to be written before no further one is taken up."""


class Entry(Protocol):
    """One input, as the plan has it."""

    @property
    def id(self) -> str:
        """Name of the input."""

    @property
    def url(self) -> str:
        """Where it is."""


@dataclass(slots=True)
class Todo:
    """A chunk that is to be done, or done in part.

    Attributes:
        index: Number of the chunk in the plan.
        rows: One place for each input; filled where the row stands already.
        entries: Inputs to do, each with its place.
        replaces: Whether the chunk stands in the output and is written anew.
    """

    index: int
    rows: list[Row | None]
    entries: Sequence[tuple[int, Entry]]
    replaces: bool


@dataclass(slots=True)
class ChunkInFlight:
    """A chunk of which some images have started.

    Attributes:
        sequence: Place in the order in which this process takes up chunks.
        index: Number of the chunk in the plan.
        rows: One place for each input, filled as the images end.
        remaining: Images that have not ended.
        replaces: Whether the chunk stands in the output and is written anew.
        ended: How the images ended that were done, as `Progress.ended`.
    """

    sequence: int
    index: int
    rows: list[Row | None]
    remaining: int
    replaces: bool = False
    ended: Counter[Outcome] = field(default_factory=Counter)


@dataclass(slots=True)
class Flight:
    """One image and what it holds.

    Attributes:
        attempts: Attempts of the step it is in, or ended in.
        held_bytes: Share of the byte budget.
        held_memory: Share of the budget for decoding, and for what is decoded.
        decoding: Whether it is let in to be decoded.
        in_window: Whether it counts among the images on the way to the gate.
    """

    item: ImageItem
    chunk: ChunkInFlight
    position: int
    attempts: int = 1
    held_bytes: int = 0
    held_memory: int = 0
    decoding: bool = False
    in_window: bool = True


Commit = Callable[[ChunkInFlight], Awaitable[None]]


class Ledger:
    """Knows which images have ended, commits whole chunks, and keeps the gate.

    The gate stands before the first step that computes under a limit or on the model, and lets images of the oldest chunk through that is
    not committed. So a crash costs one chunk at most. The images that prepare themselves meanwhile wait at the gate, and are there when the
    chunk is written.

    Args:
        commit: Writes a whole chunk; called for one chunk at a time.
    """

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._open: dict[int, ChunkInFlight] = {}
        self._changed = asyncio.Condition()
        self._stopped = False
        self._closed = False
        self._at_gate = 0

    @property
    def at_gate(self) -> int:
        """Images that are prepared, and wait for an older chunk."""
        return self._at_gate

    async def room(self) -> None:
        """Waits while many chunks are whole and not written: of images that fail early more may end than can be written."""
        async with self._changed:
            await self._changed.wait_for(lambda: sum(chunk.remaining == 0 for chunk in self._open.values()) < UNWRITTEN_CHUNKS)

    def open(self, chunk: ChunkInFlight) -> None:
        """A chunk is taken up."""
        self._open[chunk.sequence] = chunk

    async def admit(self, flight: Flight) -> bool:
        """Waits at the gate; False when the run stops and the image must not be started."""
        async with self._changed:
            self._at_gate += 1
            try:
                await self._changed.wait_for(lambda: self._stopped or flight.chunk is next(iter(self._open.values())))
            finally:
                self._at_gate -= 1
            return not self._stopped

    async def finish(self, flight: Flight, error: ImageError | SkipImage | None = None) -> None:
        """Records the end of an image. It never waits for a write: the workers of a step must stay free for images of older chunks."""
        chunk = flight.chunk
        chunk.rows[flight.position] = row_of(flight.item, error, flight.attempts)
        chunk.remaining -= 1
        if chunk.remaining == 0:
            async with self._changed:
                self._changed.notify_all()

    async def commit_chunks(self) -> None:
        """Commits each chunk when it is whole; returns after `close` when there is no whole one left."""
        while (chunk := await self._next_whole()) is not None:
            await self._commit(chunk)
            async with self._changed:
                del self._open[chunk.sequence]
                self._changed.notify_all()

    async def close(self) -> None:
        """No image ends any more."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def stop(self) -> None:
        """Nothing passes the gate any more."""
        async with self._changed:
            self._stopped = True
            self._changed.notify_all()

    async def _next_whole(self) -> ChunkInFlight | None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or self._whole() is not None)
            return self._whole()

    def _whole(self) -> ChunkInFlight | None:
        return next((chunk for chunk in self._open.values() if chunk.remaining == 0), None)

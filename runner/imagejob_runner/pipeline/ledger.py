"""The ledger: which images have ended, which chunks are whole, and their commits."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from imagejob_runner.exceptions import ImageError, SkipImage
from imagejob_runner.pipeline.flight import ChunkInFlight, Flight
from imagejob_runner.rows import row_of

UNWRITTEN_CHUNKS: Final = 8
"""Chunks that may be whole and wait to be written before no further one is taken up."""

Commit = Callable[[ChunkInFlight], Awaitable[None]]


class Ledger:
    """Knows which images have ended, and commits whole chunks.

    Args:
        commit: Writes a whole chunk; called for one chunk at a time.
        committed: Called with each chunk that is in the output.
    """

    def __init__(self, commit: Commit, committed: Callable[[ChunkInFlight], None]) -> None:
        self._commit, self._committed = commit, committed
        self._whole: dict[int, ChunkInFlight] = {}
        self._changed = asyncio.Condition()
        self._closed = False

    async def room(self) -> None:
        """Waits while many chunks are whole and not written: of images that fail early more may end than can be written."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._whole) < UNWRITTEN_CHUNKS)

    async def finish(self, flight: Flight, error: ImageError | SkipImage | None = None) -> None:
        """Records the end of an image. It never waits for a write: the workers of a step must stay free for images of older chunks."""
        chunk = flight.chunk
        chunk.rows[flight.position] = row_of(flight.item, error, flight.attempts)
        chunk.remaining -= 1
        if chunk.remaining == 0:
            async with self._changed:
                self._whole[chunk.sequence] = chunk
                self._changed.notify_all()

    async def commit_chunks(self) -> None:
        """Commits each chunk when it is whole; returns after `close` when there is no whole one left."""
        while (chunk := await self._next_whole()) is not None:
            await self._commit(chunk)
            async with self._changed:
                del self._whole[chunk.sequence]
                self._changed.notify_all()
            self._committed(chunk)

    async def close(self) -> None:
        """No image ends any more."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def _next_whole(self) -> ChunkInFlight | None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or self._whole)
            return self._whole[min(self._whole)] if self._whole else None

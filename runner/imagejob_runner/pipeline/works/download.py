"""The `download` step."""

import asyncio
import hashlib
from types import TracebackType
from typing import Final, Self

from imagejob_api.pipeline import Download
from imagejob_runner.fetch import Fetcher
from imagejob_runner.pipeline.flight import Flight
from imagejob_runner.pipeline.works.base import Memory

BYTES_GUESS: Final = 256 * 1024
"""Size assumed of an image before any has been downloaded, in bytes."""
HASH_IN_THREAD_BYTES: Final = 1024 * 1024
"""From this size on hashing would hold up the event loop for more than about a millisecond."""


class DownloadWork:
    """Fetches the URL into `item.data` and notes digest and size."""

    def __init__(self, download: Download, memory: Memory) -> None:
        self._fetcher = Fetcher(download)
        self._memory = memory
        self._expected = float(BYTES_GUESS)

    async def __aenter__(self) -> Self:
        await self._fetcher.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._fetcher.__aexit__(kind, error, trace)

    async def run(self, flight: Flight) -> None:
        """Fetches; holds as many bytes of the budget as the body has."""
        if not flight.held_bytes:
            self._memory.hold_bytes(flight, int(self._expected))
        data = await self._fetcher.fetch(flight.item.url)
        await self._memory.bytes.give_back(flight.chunk.sequence, flight.held_bytes - len(data))
        flight.held_bytes = len(data)
        self._expected += 0.1 * (len(data) - self._expected)
        digest = await asyncio.to_thread(hashlib.sha256, data) if len(data) > HASH_IN_THREAD_BYTES else hashlib.sha256(data)
        flight.item.data = data
        flight.item.provenance.update(inputSha256=digest.hexdigest(), inputBytes=len(data))

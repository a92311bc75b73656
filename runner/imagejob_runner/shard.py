"""One shard of a job: its chunks through the pipeline, each committed once. The same code on one machine and in a pod."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_runner.constants import HOLDS_FOLDER
from imagejob_runner.output import chunk_name, committed_chunks, encode_rows, read_rows
from imagejob_runner.pipeline.engine import Engine, EngineSettings
from imagejob_runner.pipeline.flight import ChunkInFlight, Todo
from imagejob_runner.pipeline.turn import Limiter
from imagejob_runner.planning import Plan, read_plan, shard_chunks
from imagejob_runner.rows import Row
from imagejob_runner.storage import OutputStore, open_output

HOLDS_IN_MEMORY = 2000
"""Audit records kept back before they are written."""


@dataclass(frozen=True, slots=True)
class ShardRequest:
    """What a runner process is asked to do.

    Attributes:
        output_url: Where the plan is, and where the rows go.
        shard: Number of the shard.
        pipeline: The steps. Fields that change results equal the plan's.
        retry_failed: Do images with a failed row once more.
        run_id: Names this process's audit files; different for each start.
        settings: Bounds of the engine.
    """

    output_url: str
    shard: int
    pipeline: ImagePipelineSpec
    retry_failed: bool
    run_id: str
    settings: EngineSettings


class ShardRun:
    """Runs one shard.

    Args:
        request: What to do.
        limiter: Takes slots; None if no step has limits.
    """

    def __init__(self, request: ShardRequest, limiter: Limiter | None) -> None:
        self._request = request
        self._output: OutputStore = open_output(request.output_url)
        self._plan: Plan
        self._audited = 0
        self._audit_files = 0
        self.already = 0
        """Images whose rows were in the output before."""
        self.engine = Engine(request.pipeline, limiter=limiter, output=self._output, commit=self._commit, settings=request.settings)

    async def run(self, when_ready: Callable[[], Awaitable[None]] | None = None) -> None:
        """Returns when every chunk of the shard is in the output, or after `stop` when what was whole is.

        Args:
            when_ready: Awaited when everything is loaded, before the first image starts.

        Raises:
            RunnerError: The run cannot go on.
        """
        self._plan = await read_plan(self._output)
        try:
            await self.engine.run(self._todo(), when_ready)
        finally:
            await self._write_holds()

    async def stop(self) -> None:
        """Finishes the batch, commits what is whole, and lets `run` return."""
        await self.engine.stop()

    async def _todo(self) -> AsyncIterator[Todo]:
        shard = self._request.shard
        done = await committed_chunks(self._output, self._plan, shard)
        async for chunk in shard_chunks(self._output, self._plan, shard):
            size = len(chunk.entries)
            if chunk.index not in done:
                yield Todo(chunk.index, [None] * size, list(enumerate(chunk.entries)), replaces=False)
                continue
            rows = await self._rows_to_mend(chunk.index) if self._request.retry_failed else []
            again = [(place, chunk.entries[place]) for place, row in enumerate(rows) if row["status"] == "failed"]
            self.already += size - len(again)
            if again:
                yield Todo(chunk.index, list(rows), again, replaces=True)

    async def _rows_to_mend(self, chunk: int) -> list[Row]:
        return await read_rows(self._output, self._plan, self._request.shard, chunk) or []

    async def _commit(self, chunk: ChunkInFlight) -> None:
        rows = [row for row in chunk.rows if row is not None]
        name = chunk_name(self._plan, self._request.shard, chunk.index)
        data = await asyncio.to_thread(encode_rows, rows, self._plan.format)
        if chunk.replaces:
            await self._output.replace(name, data)
        else:
            # When another process was first, its rows stand, and ours say the same.
            await self._output.create(name, data)
        if len(self.engine.holds) - self._audited >= HOLDS_IN_MEMORY:
            await self._write_holds()

    async def _write_holds(self) -> None:
        holds = self.engine.holds[self._audited :]
        if not holds:
            return
        self._audited += len(holds)
        self._audit_files += 1
        name = f"{HOLDS_FOLDER}/{self._request.shard:05d}-{self._request.run_id}-{self._audit_files:04d}.jsonl"
        await self._output.create(name, b"".join(hold.line() for hold in holds))

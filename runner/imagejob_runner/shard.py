"""The shards of one process: their chunks through the pipeline, each committed once. The same code on one machine and in a pod."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_runner.audit import Hold, holds_name
from imagejob_runner.constants import SUCCESS_FILE
from imagejob_runner.exceptions import StorageError
from imagejob_runner.output import FoundRows, chunk_name, committed_chunks, decode_rows, encode_rows, output_kinds, read_rows
from imagejob_runner.pipeline.engine import Engine, EngineSettings
from imagejob_runner.pipeline.flight import ChunkInFlight, Todo
from imagejob_runner.pipeline.progress import outcome_of_row
from imagejob_runner.pipeline.turn import Limiter, now
from imagejob_runner.planning import Plan, PlannedModel, read_plan, shard_chunks
from imagejob_runner.rows import Row
from imagejob_runner.storage import OutputStore, open_output

_CONFLICTS: Final = 8
HOLDS_SECONDS = 5.0
"""Shortest time between two files of audit records: a process that is killed takes no more of them with it than those of so many seconds
and of the chunk that it was at, and a slow output is not burdened with a file for each of many small chunks."""


@dataclass(frozen=True, slots=True)
class ShardRequest:
    """What a runner process is asked to do.

    Attributes:
        output_url: Where the plan is, and where the rows go.
        shards: Numbers of the shards, at least one.
        pipeline: The steps. Fields that change results equal the plan's.
        models: The models of the plan, by step; another one is refused.
        retry_failed: Do images with a failed row once more.
        run_id: Names this process's audit files; different for each start.
        settings: Bounds of the engine.
    """

    output_url: str
    shards: tuple[int, ...]
    pipeline: ImagePipelineSpec
    models: Mapping[str, PlannedModel]
    retry_failed: bool
    run_id: str
    settings: EngineSettings


class ShardRun:
    """Runs the shards of a request, one after the other, through one engine.

    Args:
        request: What to do.
        limiter: Takes slots; None if no step has limits.

    Raises:
        InvalidJobError: A step names a function that there is not.
    """

    def __init__(self, request: ShardRequest, limiter: Limiter | None) -> None:
        self._request = request
        self._output: OutputStore = open_output(request.output_url)
        self._plan: Plan
        self._found: FoundRows | None = None
        self._unwritten: list[Hold] = []
        self._untaken: list[Hold] = []
        self._audit_files = 0
        self._stopped = False
        self._audit_file: tuple[str, bytes] | None = None
        self._writing_holds = asyncio.Lock()
        self._holds_written = now()
        self.engine = Engine(
            request.pipeline,
            limiter=limiter,
            output=self._output,
            commit=self._commit,
            settings=request.settings,
            models=request.models,
        )

    @property
    def already(self) -> Counter[str]:
        """Rows that were in the output before and are not done again, by status; `UNREAD` where it is not known yet."""
        return self._found.statuses if self._found is not None else Counter()

    def take_holds(self) -> list[Hold]:
        """The holds that have ended since the last call."""
        self._collect_holds()
        taken, self._untaken = self._untaken, []
        return taken

    async def run(self, when_ready: Callable[[], Awaitable[None]] | None = None) -> None:
        """Returns when every chunk of the shards is in the output, or after `stop` when what was whole is.

        Args:
            when_ready: Awaited when everything is loaded, before the first image starts.

        Raises:
            RunnerError: The run cannot go on.
        """
        self._plan = await read_plan(self._output)
        self._found = FoundRows(self._output, self._plan)
        done = await committed_chunks(self._output, self._plan, self._request.shards)
        if not self._request.retry_failed:
            self._found.expect(done)
        counting = asyncio.create_task(self._found.read())
        try:
            await self.engine.run(self._todo(done), when_ready)
            if not self._stopped:
                await counting
        finally:
            counting.cancel()
            await self._write_holds()

    async def stop(self) -> None:
        """Finishes the batch, commits what is whole, and lets `run` return; rows that stood there before are not counted on."""
        self._stopped = True
        await self.engine.stop()

    async def _todo(self, done: set[int]) -> AsyncIterator[Todo]:
        for shard in self._request.shards:
            async for chunk in shard_chunks(self._output, self._plan, shard):
                size = len(chunk.entries)
                if chunk.index not in done:
                    yield Todo(chunk.index, [None] * size, list(enumerate(chunk.entries)), replaces=False)
                elif self._request.retry_failed:
                    rows = await read_rows(self._output, self._plan, shard, chunk.index)
                    again = [(place, chunk.entries[place]) for place, row in enumerate(rows) if row["status"] == "failed"]
                    if self._found is not None:
                        self._found.add([row for row in rows if row["status"] != "failed"])
                    if again:
                        yield Todo(chunk.index, list(rows), again, replaces=True)

    async def _commit(self, chunk: ChunkInFlight) -> None:
        rows = [row for row in chunk.rows if row is not None]
        shard = chunk.index % self._plan.shards
        name = chunk_name(self._plan, shard, chunk.index)
        data = b"" if chunk.replaces else await asyncio.to_thread(self._encoded, rows)
        if chunk.replaces:
            await self._replace(chunk, rows, name)
        elif not await self._output.create(name, data):
            # Another process was first: its rows stand. They say the same, but for images that fail at times.
            chunk.ended = Counter(map(outcome_of_row, await read_rows(self._output, self._plan, shard, chunk.index)))
        self._collect_holds()
        if now() - self._holds_written >= HOLDS_SECONDS:
            await self._write_holds()

    def _encoded(self, rows: Sequence[Row]) -> bytes:
        return encode_rows(rows, self._plan.format, output_kinds(self._request.pipeline) if self._plan.typed else None)

    async def _replace(self, chunk: ChunkInFlight, rows: Sequence[Row], name: str) -> None:
        """Puts rows that were done again over the failed ones that stand there now, and over no others.

        Another process may have done them meanwhile. An output that it has even completed stays as it is.
        """
        for _ in range(_CONFLICTS):
            found = await self._output.read_version(name)
            if found is None:
                raise StorageError(f"{self._output.url}: {name} was there and is gone; does somebody empty the output?")
            standing = decode_rows(found[0], self._plan.format, name)
            completed = await self._output.read(SUCCESS_FILE) is not None
            pairs = zip(standing, rows, strict=True)
            merged = standing if completed else [ours if row["status"] == "failed" else row for row, ours in pairs]
            data = await asyncio.to_thread(self._encoded, merged)
            if completed or await self._output.exchange(name, data, found[1]):
                # Of the images done again, those count that are there now.
                chunk.ended.update(map(outcome_of_row, merged))
                chunk.ended.subtract(map(outcome_of_row, rows))
                chunk.ended = +chunk.ended
                return
        where = f"{self._output.url}: {name}"
        raise StorageError(f"{where} was changed by others {_CONFLICTS} times when it was to be written; run again when nobody else does")

    def _collect_holds(self) -> None:
        ended = self.engine.take_holds()
        self._unwritten += ended
        self._untaken += ended

    async def _write_holds(self) -> None:
        """Writes the holds that have ended as the next audit file of this run; first the one that could not be written before, as it was.

        That one may be there all the same, and no number may be left out: whoever verifies takes a gap for a loss.
        """
        async with self._writing_holds:
            if self._audit_file is not None:
                await self._write_audit_file(*self._audit_file)
            self._collect_holds()
            holds, self._unwritten = self._unwritten, []
            if holds:
                data = b"".join(hold.line() for hold in holds)
                name = holds_name(self._request.shards[0], self._request.run_id, self._audit_files + 1, data)
                self._audit_file = (name, data)
                await self._write_audit_file(name, data)

    async def _write_audit_file(self, name: str, data: bytes) -> None:
        self._holds_written = now()
        await self._output.create(name, data)
        self._audit_file = None
        self._audit_files += 1

"""The engine: puts a pipeline's stages together and drives chunks through them.

    feeder ─▶ download ─▶ decode/transform ─▶ ┊gate┊ ─▶ infer (under its limits) ─▶ save ─▶ ledger ─▶ commit

Everything before the gate is preparation and runs ahead into the next chunk; everything behind it is worth not doing twice.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from imagejob_api.failure import shortened
from imagejob_api.pipeline import ImagePipelineSpec, Step, StepLimit
from imagejob_runner.audit import Hold, boot_id
from imagejob_runner.exceptions import ImageError, SkipImage
from imagejob_runner.item import ImageItem
from imagejob_runner.pipeline.assembly import Part, assemble, pixel_cpus
from imagejob_runner.pipeline.budget import Budget
from imagejob_runner.pipeline.channel import Channel
from imagejob_runner.pipeline.flight import ChunkInFlight, Flight, Ledger, Todo
from imagejob_runner.pipeline.patience import Patience
from imagejob_runner.pipeline.progress import Progress, outcome_of
from imagejob_runner.pipeline.stages import BatchStage, ImageStage, Stage
from imagejob_runner.pipeline.suspects import Suspects
from imagejob_runner.pipeline.turn import Limiter, Turn, now
from imagejob_runner.pipeline.works.base import Memory
from imagejob_runner.planning import PlannedModel
from imagejob_runner.process import cpu_count


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What bounds one engine.

    Attributes:
        max_bytes: Encoded bytes in flight.
        max_decoded: Bytes that decoding may take, together with what is decoded and in flight.
        large: Bytes from which a decoding goes alone.
        cpus: CPUs of the process.
        priority: Of the job, in the queues of limits.
        node: Name of the node, for provenance and audit.
    """

    max_bytes: int = 256 * 1024 * 1024
    max_decoded: int = 256 * 1024 * 1024
    large: int = 256 * 1024 * 1024
    cpus: int = field(default_factory=cpu_count)
    priority: int = 0
    node: str = field(default_factory=lambda: os.uname().nodename)


class Engine:
    """Runs one pipeline over chunks, once.

    Args:
        pipeline: The steps.
        limiter: Takes slots; may be None if no step has limits.
        output: Where derived images go.
        commit: Writes a whole chunk's rows.
        settings: Bounds.
        models: What the output was planned with, by step; another model is refused.
    """

    def __init__(
        self,
        pipeline: ImagePipelineSpec,
        *,
        limiter: Limiter | None,
        output: Any,  # noqa: ANN401  OutputStore
        commit: Callable[[ChunkInFlight], Awaitable[None]],
        settings: EngineSettings,
        models: Mapping[str, PlannedModel],
    ) -> None:
        self.progress = Progress()
        self.holds: list[Hold] = []
        """Holds that have ended, until they are taken."""
        self._limiter, self._output, self._settings = limiter, output, settings
        self._commit = commit
        self._memory = Memory(Budget(settings.max_bytes), Budget(settings.max_decoded), settings.large, Suspects(output))
        cpus = pixel_cpus(pipeline, settings.cpus)
        self._threads = ThreadPoolExecutor(cpus, thread_name_prefix="pixels")
        self._boot = boot_id()
        self._stages: list[Stage[Any]] = []
        self._preparing: list[asyncio.Task[None]] = []
        self._patience = Patience()
        self._stopping = False
        self._assembly = assemble(pipeline, cpus, self._memory, self._threads, output, models)

    def _turn_of(self, step: Step) -> Callable[[], Turn] | None:
        limits: list[StepLimit] = list(step.limits)
        limiter = self._limiter
        if not limits:
            return None
        if limiter is None:
            raise ValueError(f"step {step.name} has limits, and there is nothing to take them from")
        return lambda: Turn(
            limiter,
            limits,
            priority=self._settings.priority,
            node=self._settings.node,
            boot=self._boot,
            record=self.holds.append,
            waiting=self._waiting,
            holding=self._holding,
        )

    def _waiting(self, limit: str, change: int) -> None:
        self.progress.waiting[limit] += change

    def _holding(self, limit: str, change: int) -> None:
        self.progress.holding[limit] += change

    def take_holds(self) -> list[Hold]:
        """The holds that have ended since the last call."""
        taken = self.holds.copy()
        self.holds.clear()
        return taken

    async def run(self, chunks: AsyncIterator[Todo], when_ready: Callable[[], Awaitable[None]] | None = None) -> None:
        """Takes the chunks through all steps; returns when all are committed, or after `stop` when what was whole is.

        Args:
            chunks: What is to be done.
            when_ready: Awaited when everything is loaded, before the first image starts.

        Raises:
            RunnerError: A model cannot be loaded, or the output cannot be written.
        """
        self._ledger = Ledger(self._write)
        async with AsyncExitStack() as stack:
            stack.callback(self._threads.shutdown, wait=True, cancel_futures=True)
            stack.callback(self._patience.end)
            for part in self._assembly.parts:
                await stack.enter_async_context(part.work)
            self._memory.suspects.ready()
            if when_ready is not None:
                await when_ready()
            self._build()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._ledger.commit_chunks(), name="commit")
                    await self._run_stages(chunks)
                    await self._ledger.close()
            except ExceptionGroup as errors:
                raise _first(errors) from errors

    async def _run_stages(self, chunks: AsyncIterator[Todo]) -> None:
        async with asyncio.TaskGroup() as group:
            for place, stage in enumerate(self._stages):
                for number in range(stage.concurrency):
                    task = group.create_task(stage.work(), name=f"{stage.name}-{number}")
                    if place < self._assembly.gated:
                        self._preparing.append(task)
            self._preparing.append(group.create_task(self._feed(chunks, group), name="feeder"))
            if self._assembly.gated > 0:
                self._preparing.append(group.create_task(self._gatekeeper(group), name="gate"))
            if self._stopping:
                await self._stop()

    def _build(self) -> None:
        inbox: Channel[Flight] = Channel(self._assembly.window)
        self._entrance = inbox
        parts = self._assembly.parts
        for place, part in enumerate(parts):
            following: Channel[Flight] | None = None
            outbox: Channel[Flight] | None = None
            if place + 1 == self._assembly.gated:
                self._prepared = outbox = Channel[Flight](self._assembly.window, producers=part.concurrency)
                self._gate_exit = following = Channel[Flight](self._assembly.window)
            elif place + 1 < len(parts):
                outbox = following = Channel(2 * parts[place + 1].at_once, producers=part.concurrency)
            self._stages.append(self._stage(part, inbox, outbox))
            if following is not None:
                inbox = following
        if self._assembly.gated == 0:
            self._gate_exit = self._entrance
        self._places = asyncio.Semaphore(self._assembly.window)

    def _stage(self, part: Part, inbox: Channel[Flight], outbox: Channel[Flight] | None) -> Stage[Any]:
        kind = BatchStage if part.batch else ImageStage
        gated = part is self._assembly.parts[self._assembly.gated]
        return kind(
            part.step,
            part.work,
            inbox,
            outbox,
            finish=self._finish,
            progress=self.progress,
            concurrency=part.concurrency,
            turn=self._turn_of(part.step),
            coming=lambda: gated and self._ledger.at_gate > 0,
            patience=self._patience,
        )

    async def _feed(self, chunks: AsyncIterator[Todo], group: asyncio.TaskGroup) -> None:
        """Takes up chunks; at most a window of images is on the way to the gate."""
        passing: list[asyncio.Task[None]] = []
        sequence = 0
        async for chunk in chunks:
            await self._ledger.room()
            sequence += 1
            open_chunk = ChunkInFlight(sequence, chunk.index, chunk.rows, len(chunk.entries), replaces=chunk.replaces)
            self._ledger.open(open_chunk)
            for position, entry in chunk.entries:
                await self._places.acquire()
                item = ImageItem(id=entry.id, url=entry.url, provenance={"node": self._settings.node})
                flight = Flight(item, open_chunk, position)
                if self._assembly.gated == 0:
                    passing = [task for task in passing if not task.done()]
                    passing.append(group.create_task(self._pass_gate(flight)))
                else:
                    await self._entrance.put(flight)
        if passing:
            await asyncio.wait(passing)
        await self._entrance.close()

    async def _gatekeeper(self, group: asyncio.TaskGroup) -> None:
        """Lets prepared images wait at the gate side by side: one of an older chunk must never stand behind one of a younger."""
        passing: list[asyncio.Task[None]] = []
        while await self._prepared.wait_ready():
            passing = [task for task in passing if not task.done()]
            passing += [group.create_task(self._pass_gate(flight)) for flight in await self._prepared.take(self._assembly.window)]
        if passing:
            await asyncio.wait(passing)
        await self._gate_exit.close()

    async def _pass_gate(self, flight: Flight) -> None:
        if await self._ledger.admit(flight):
            self._leave_window(flight)
            await self._gate_exit.put(flight)

    def _leave_window(self, flight: Flight) -> None:
        if flight.in_window:
            flight.in_window = False
            self._places.release()

    async def _finish(self, flight: Flight, error: ImageError | SkipImage | None) -> None:
        self._leave_window(flight)
        outcome = outcome_of(error)
        self.progress.ended[outcome] += 1
        flight.chunk.ended[outcome] += 1
        if isinstance(error, ImageError):
            self.progress.examples.setdefault(error.code, shortened(f"{flight.item.id}: {error.message}"))
        await self._memory.give_back(flight)
        await self._ledger.finish(flight, error)

    async def _write(self, chunk: ChunkInFlight) -> None:
        await self._commit(chunk)
        self.progress.committed += chunk.ended
        self.progress.last_save = now()

    async def stop(self) -> None:
        """Finishes what is being computed, commits what is whole, and lets `run` return. May be called at any time, more than once."""
        self._stopping = True
        if self._preparing:
            await self._stop()

    async def _stop(self) -> None:
        await self._ledger.stop()
        for task in self._preparing:
            task.cancel()
        self._patience.end()
        await self._gate_exit.close(drop=True)


def _first(errors: ExceptionGroup) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

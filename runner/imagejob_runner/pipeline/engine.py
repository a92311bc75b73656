"""The engine: puts a pipeline's stages together and drives chunks through them.

    feeder ─▶ download ─▶ decode/transform ─▶ ┊gate┊ ─▶ infer (under its limits) ─▶ save ─▶ ledger ─▶ commit

Everything before the gate is preparation and runs ahead into the next chunks; everything behind it is worth not doing twice. What goes
from stage to stage are as many images at once as are ready.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from imagejob_api.failure import shortened
from imagejob_api.pipeline import ImagePipelineSpec, Step, StepLimit
from imagejob_runner.audit import Hold, boot_id
from imagejob_runner.exceptions import ImageError
from imagejob_runner.item import ImageItem
from imagejob_runner.pipeline.assembly import Part, assemble, pixel_cpus
from imagejob_runner.pipeline.budget import Budget
from imagejob_runner.pipeline.channel import Channel
from imagejob_runner.pipeline.flight import ChunkInFlight, Ended, Flight, Todo
from imagejob_runner.pipeline.gate import Gate
from imagejob_runner.pipeline.ledger import Ledger
from imagejob_runner.pipeline.patience import Patience
from imagejob_runner.pipeline.places import Places
from imagejob_runner.pipeline.progress import Progress, outcome_of
from imagejob_runner.pipeline.stages import Stage
from imagejob_runner.pipeline.suspects import Suspects
from imagejob_runner.pipeline.turn import Limiter, Turn, now
from imagejob_runner.pipeline.works.base import Memory
from imagejob_runner.planning import PlannedModel
from imagejob_runner.process import cpu_count

if TYPE_CHECKING:
    from imagejob_runner.pipeline.preparation_stage import PreparationStage
    from imagejob_runner.storage import OutputStore

W = TypeVar("W")


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
        output: "OutputStore | None",
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
        self._preparation: PreparationStage | None = None
        self._preparing: list[asyncio.Task[None]] = []
        self._patience = Patience()
        self._stopping = False
        self._cpu_before = time.process_time()
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

    def look(self) -> Progress:
        """The progress, with what was counted elsewhere until now."""
        self.progress.seen = now()
        prepared = self._preparation.cpu_seconds if self._preparation is not None else 0.0
        self.progress.cpu_seconds = time.process_time() + prepared - self._cpu_before
        return self.progress

    async def run(self, chunks: AsyncIterator[Todo], when_ready: Callable[[], Awaitable[None]] | None = None) -> None:
        """Takes the chunks through all steps; returns when all are committed, or after `stop` when what was whole is.

        Args:
            chunks: What is to be done.
            when_ready: Awaited when everything is loaded, before the first image starts.

        Raises:
            RunnerError: A model cannot be loaded, or the output cannot be written.
        """
        self._build()
        async with AsyncExitStack() as stack:
            stack.callback(self._threads.shutdown, wait=True, cancel_futures=True)
            stack.callback(self._patience.end)
            if self._preparation is not None:
                await stack.enter_async_context(self._preparation)
            for part in self._assembly.parts:
                await stack.enter_async_context(part.work)
            self._memory.suspects.ready()
            if when_ready is not None:
                await when_ready()
            self._describe()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._ledger.commit_chunks(), name="commit")
                    await self._run_stages(chunks)
                    await self._ledger.close()
            except ExceptionGroup as errors:
                raise _first(errors) from errors

    def _describe(self) -> None:
        """Tells what the pipeline consists of, now that everything is loaded; from here on CPU time is the images'."""
        progress, assembly = self.progress, self._assembly
        if assembly.preparation is not None:
            for step, at_once in assembly.preparation.steps:
                progress.describe(step, at_once)
        for part in assembly.parts:
            progress.describe(part.step, part.concurrency)
            progress.device = progress.device or getattr(part.work, "device", "")
        progress.cpus = self._settings.cpus
        self._cpu_before = 0.0
        self._cpu_before = self.look().cpu_seconds

    def _build(self) -> None:
        """Puts together: entrance ─▶ (preparation) ─▶ stages before the gate ─▶ prepared ─▶ gate ─▶ beyond ─▶ stages behind it."""
        parts, window = self._assembly.parts, self._assembly.window
        self._ledger = Ledger(self._write, self._committed)
        self._places = Places(window)
        beyond = Channel[Flight](window, taken=self._leave_window)
        self._gate = Gate(beyond)
        before = self._assembly.gated + (self._assembly.preparation is not None)
        self._entrance = Channel[Flight](window)
        self._prepared = self._entrance
        inbox = self._entrance if before else beyond
        if self._assembly.preparation is not None:
            outbox = Channel[Flight](window)
            self._preparation = self._assembly.preparation.stage(
                inbox, outbox, finish=self._finish, progress=self.progress, memory=self._memory
            )
            self._prepared = outbox
            inbox = outbox if self._assembly.gated else beyond
        for place, part in enumerate(parts):
            outbox_of: Channel[Flight] | None = None
            following = beyond
            if place + 1 == self._assembly.gated:
                self._prepared = outbox_of = Channel[Flight](window, producers=part.concurrency)
            elif place + 1 < len(parts):
                outbox_of = following = Channel[Flight](2 * parts[place + 1].at_once, producers=part.concurrency)
            self._stages.append(self._stage(part, inbox, outbox_of))
            inbox = following

    def _stage(self, part: Part[W], inbox: Channel[Flight], outbox: Channel[Flight] | None) -> Stage[W]:
        gated = part is self._assembly.parts[self._assembly.gated]
        return part.stage(
            part.step,
            part.work,
            inbox,
            outbox,
            finish=self._finish,
            progress=self.progress,
            concurrency=part.concurrency,
            turn=self._turn_of(part.step),
            coming=lambda: gated and self._gate.waiting > 0,
            patience=self._patience,
        )

    async def _run_stages(self, chunks: AsyncIterator[Todo]) -> None:
        async with asyncio.TaskGroup() as group:
            if self._preparation is not None:
                self._preparing.append(group.create_task(self._preparation.work(), name="preparation"))
            for place, stage in enumerate(self._stages):
                for number in range(stage.concurrency):
                    task = group.create_task(stage.work(), name=f"{stage.name}-{number}")
                    if place < self._assembly.gated:
                        self._preparing.append(task)
            self._preparing.append(group.create_task(self._feed(chunks), name="feeder"))
            self._preparing.append(group.create_task(self._lead_to_gate(), name="gate"))
            if self._stopping:
                self._stop()

    async def _feed(self, chunks: AsyncIterator[Todo]) -> None:
        """Takes up chunks; there is a window of images at most between here and the step behind the gate."""
        sequence = 0
        async for chunk in chunks:
            await self._ledger.room()
            sequence += 1
            taken_up = ChunkInFlight(sequence, chunk.index, chunk.rows, len(chunk.entries), replaces=chunk.replaces)
            self._gate.take_up(sequence)
            begun = 0
            while begun < len(chunk.entries):
                places = await self._places.take(len(chunk.entries) - begun)
                flights = [
                    Flight(ImageItem(id=entry.id, url=entry.url, provenance={"node": self._settings.node}), taken_up, position)
                    for position, entry in chunk.entries[begun : begun + places]
                ]
                begun += places
                await self._entrance.put(flights)
        self._entrance.close()

    async def _lead_to_gate(self) -> None:
        while await self._prepared.wait_ready():
            self._gate.arrive(self._prepared.take(len(self._prepared)))
        self._gate.last_came()

    def _leave_window(self, flights: Sequence[Flight]) -> None:
        leaving = [flight for flight in flights if flight.in_window]
        for flight in leaving:
            flight.in_window = False
        self._places.give_back(len(leaving))

    async def _finish(self, ended: Sequence[Ended]) -> None:
        self._leave_window([flight for flight, _ in ended])
        for flight, error in ended:
            outcome = outcome_of(error)
            self.progress.ended[outcome] += 1
            flight.chunk.ended[outcome] += 1
            if isinstance(error, ImageError):
                self.progress.examples.setdefault(error.code, shortened(f"{flight.item.id}: {error.message}"))
            await self._memory.give_back(flight)
            await self._ledger.finish(flight, error)

    async def _write(self, chunk: ChunkInFlight) -> None:
        begun = now()
        await self._commit(chunk)
        self.progress.write_seconds += now() - begun
        self.progress.committed += chunk.ended
        self.progress.last_save = now()

    def _committed(self, chunk: ChunkInFlight) -> None:
        self._gate.committed(chunk.sequence)

    async def stop(self) -> None:
        """Finishes what is being computed, commits what is whole, and lets `run` return. May be called at any time, more than once."""
        self._stopping = True
        if self._preparing:
            self._stop()

    def _stop(self) -> None:
        for task in self._preparing:
            task.cancel()
        self._patience.end()
        self._gate.stop()


def _first(errors: ExceptionGroup) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

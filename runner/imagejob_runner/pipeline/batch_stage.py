"""The stage of a step that works on batches: inference."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from imagejob_runner.exceptions import ImageError
from imagejob_runner.pipeline.flight import Flight
from imagejob_runner.pipeline.stages import Stage, Worker
from imagejob_runner.pipeline.turn import now

LEAST_LINGER_SECONDS: Final = 0.02
LINGER_SHARE: Final = 0.25


class UnderWay(Protocol):
    """Images that are being worked on."""

    @property
    def flights(self) -> Sequence[Flight]:
        """The images."""


U = TypeVar("U", bound=UnderWay)


class BatchWork(Protocol[U]):
    """A step that works on several images at once."""

    @property
    def batch_size(self) -> int:
        """Largest batch."""

    @property
    def runs_ahead(self) -> bool:
        """Whether `launch` returns before the work is done, so that the next batch can be launched meanwhile."""

    async def launch(self, flights: Sequence[Flight]) -> U:
        """Begins to work on images."""

    async def settle(self, batch: U) -> None:
        """Waits until nothing more of it needs the step's limits."""

    async def finish(self, batch: U) -> list[ImageError | None]:
        """Puts the answers of a settled batch into its images; for each, None or why it fails."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that is worked on.

    Attributes:
        work: What the step's work says of it.
        begun: When it was launched.
    """

    work: UnderWay
    begun: float


class BatchStage(Stage[BatchWork[UnderWay]]):
    """A step that works on batches.

    It collects the next batch while others hold the slot. On a device that runs by itself it launches the next batch before the last one is
    through, and its answers are described meanwhile.
    """

    def _prepare(self) -> None:
        self._unit = self._work.batch_size
        self._linger = LEAST_LINGER_SECONDS
        self._deliveries: set[asyncio.Task[None]] = set()
        self._late = False

    def _behind(self) -> bool:
        return self._late

    async def _step(self, worker: Worker) -> None:
        flights = await self._collect()
        if not flights:
            return
        self._begin()
        if worker.turn is not None:
            await self._enter(worker.turn)
            flights += self.inbox.take(self._work.batch_size - len(flights))
        begun = now()
        launching = asyncio.ensure_future(self._work.launch(flights))
        try:
            await asyncio.shield(launching)
        finally:
            # Also when this worker is cancelled: what has begun has to end before its slots are let go.
            with suppress(Exception):
                worker.under_way.append(Batch(await launching, begun))
        while len(worker.under_way) > (1 if self._work.runs_ahead else 0):
            await self._settle_oldest(worker)

    async def _settle(self, worker: Worker) -> None:
        failures: list[Exception] = []
        while worker.under_way:
            try:
                await self._settle_oldest(worker)
            except Exception as error:  # noqa: BLE001  raised when the others are through
                failures.append(error)
        if failures:
            raise failures[0]

    async def _settle_oldest(self, worker: Worker) -> None:
        batch = worker.under_way.popleft()
        await self._work.settle(batch.work)
        ended = now()
        begun = max(batch.begun, worker.free_since)
        worker.free_since = ended
        took, flights = ended - begun, batch.work.flights
        if worker.turn is not None:
            worker.turn.worked(took)
        self._linger = max(LEAST_LINGER_SECONDS, LINGER_SHARE * took)
        self._note(flights, took)
        self._progress.note_batch(self.name, len(flights), begun, ended)
        # The stage after is behind if it has not taken the last batch in the time of this one.
        self._late = self._undelivered() >= self.concurrency
        self._deliveries.add(asyncio.create_task(self._deliver(batch.work)))

    def _undelivered(self) -> int:
        return sum(not delivery.done() for delivery in self._deliveries)

    def _can_go_on(self) -> bool:
        return len(self.inbox) > 0 and self._undelivered() <= self.concurrency

    async def _next(self) -> bool:
        await self._delivered(self.concurrency)
        return await self.inbox.wait_ready()

    async def _deliver(self, batch: UnderWay) -> None:
        errors = await self._work.finish(batch)
        await self._forward(list(zip(batch.flights, errors, strict=True)))

    async def _collect(self) -> list[Flight]:
        """A full batch; or a smaller one when nothing has been added to it for a while."""
        size = self._work.batch_size
        batch = self.inbox.take(size)
        while batch and len(batch) < size and not self.inbox.closed:
            try:
                async with asyncio.timeout(self._linger):
                    await self.inbox.wait_ready()
            except TimeoutError:
                break
            batch += self.inbox.take(size - len(batch))
        return batch

    async def _delivered(self, most: int) -> None:
        """Waits until at most `most` deliveries are under way; raises what one of them raised."""
        done = {task for task in self._deliveries if task.done()}
        while len(self._deliveries - done) > most:
            finished, _ = await asyncio.wait(self._deliveries - done, return_when=asyncio.FIRST_COMPLETED)
            done |= finished
        self._deliveries -= done
        for task in done:
            task.result()

    async def _close(self) -> None:
        try:
            await self._delivered(0)
        finally:
            await super()._close()

"""Stages: the workers of one step, what they take from the stage before and hand to the stage after."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from imagejob_api.pipeline import Step
from imagejob_runner.exceptions import ImageError, SkipImage
from imagejob_runner.pipeline.channel import Channel
from imagejob_runner.pipeline.flight import Flight
from imagejob_runner.pipeline.patience import Patience
from imagejob_runner.pipeline.progress import Progress
from imagejob_runner.pipeline.retry import attempt
from imagejob_runner.pipeline.turn import Turn, now
from imagejob_runner.pipeline.works.base import NoRoom, Work

LEAST_LINGER_SECONDS = 0.02
LINGER_SHARE = 0.25

Finish = Callable[[Flight, ImageError | SkipImage | None], Awaitable[None]]
"""Called with an image that goes no further: it has failed, is left out, or has gone through the last stage."""


class BatchWork(Protocol):
    """A step that works on several images at once."""

    @property
    def batch_size(self) -> int:
        """Largest batch."""

    async def run_batch(self, flights: Sequence[Flight]) -> list[ImageError | None]:
        """Works on the images in place; for each, None or why it fails."""


W = TypeVar("W")


class Stage(Generic[W]):
    """The workers of one step.

    Args:
        step: Its definition.
        work: What it does.
        inbox: Where images come from.
        outbox: Where they go; None after the last step.
        finish: Takes images that go no further.
        progress: Counts.
        concurrency: Number of workers.
        turn: Makes a worker's turn on the step's limits; None for a step without limits.
        coming: Whether prepared images wait only for an older chunk to be written.
        patience: What waits for slots, for memory and before attempts go through, so that a stop ends them.
    """

    def __init__(
        self,
        step: Step,
        work: W,
        inbox: Channel[Flight],
        outbox: Channel[Flight] | None,
        *,
        finish: Finish,
        progress: Progress,
        concurrency: int,
        turn: Callable[[], Turn] | None,
        coming: Callable[[], bool],
        patience: Patience,
    ) -> None:
        self.name, self._definition, self._work = step.name, step, work
        self.inbox, self._outbox = inbox, outbox
        self._finish, self._progress = finish, progress
        self.concurrency = concurrency
        self._make_turn, self._coming, self._patience = turn, coming, patience
        self._unit = 1
        """Images that are worth a slot."""
        self._prepare()

    def _prepare(self) -> None:
        """Sets up what a kind of stage needs besides."""

    async def work(self) -> None:
        """One worker: takes images until none come any more. Run it `concurrency` times."""
        turn = self._make_turn() if self._make_turn else None
        try:
            while await self._ready(turn):
                await self._step(turn)
                if turn is not None:
                    soon = self._unit_comes if self._coming() else None
                    await self._patience.wait(turn.after_work(ready=self._has_unit(), behind=self._behind(), soon=soon))
        finally:
            try:
                if turn is not None:
                    await turn.leave()
            finally:
                await self._close()

    async def _ready(self, turn: Turn | None) -> bool:
        """Waits for work; while holding a slot, lets it go when it is wanted elsewhere or idle for too long."""
        if turn is None or not turn.holding or len(self.inbox):
            return await self.inbox.wait_ready()
        ready, idle = asyncio.ensure_future(self.inbox.wait_ready()), asyncio.ensure_future(turn.idle())
        try:
            await asyncio.wait([ready, idle], return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                await turn.leave()
            return await ready
        finally:
            ready.cancel()
            idle.cancel()
            await asyncio.gather(ready, idle, return_exceptions=True)

    async def _step(self, turn: Turn | None) -> None:
        raise NotImplementedError

    def _has_unit(self) -> bool:
        # A small batch is not worth a slot that others want, unless nothing will be added to it.
        return len(self.inbox) >= self._unit or (self.inbox.closed and len(self.inbox) > 0)

    async def _unit_comes(self) -> bool:
        return await self.inbox.wait_ready(self._unit)

    def _behind(self) -> bool:
        return self._outbox is not None and self._outbox.full

    async def _forward(self, flight: Flight, error: ImageError | SkipImage | None) -> None:
        if error is None and self._outbox is not None:
            await self._outbox.put(flight)
        else:
            await self._finish(flight, error)

    async def _close(self) -> None:
        if self._outbox is not None:
            await self._outbox.close()

    def _note(self, flights: Sequence[Flight], seconds: float) -> None:
        for flight in flights:
            timings = flight.item.timings
            timings[self.name] = timings.get(self.name, 0.0) + seconds / len(flights)
        self._progress.stage_seconds[self.name] += seconds
        self._progress.stage_images[self.name] += len(flights)


class ImageStage(Stage[Work]):
    """A step that works on one image at a time, with retries.

    An image that has to wait for memory does so aside, out of its step's time, and keeps neither a slot nor a worker: both may be needed
    by the image of an older chunk that all others wait for.
    """

    def _prepare(self) -> None:
        self._aside: set[asyncio.Task[None]] = set()

    async def _step(self, turn: Turn | None) -> None:
        taken = await self.inbox.take(1)
        if not taken:
            return  # another worker was first
        (flight,) = taken
        if self._progress.first_start is None:
            self._progress.first_start = now()
        error: ImageError | SkipImage | None = None
        try:
            await attempt(
                self._definition,
                flight,
                self._timed if turn is None else lambda flight: self._under(turn, flight),
                before=(lambda: self._patience.wait(turn.enter())) if turn else None,
                between=turn.leave if turn else None,
                sleep=self._patience.sleep,
            )
        except NoRoom as shortage:
            self.inbox.expect()
            task = asyncio.create_task(self._wait_aside(flight, shortage))
            self._aside.add(task)
            task.add_done_callback(self._aside.discard)
            return
        except (ImageError, SkipImage) as raised:
            error = raised
        await self._forward(flight, error)

    async def _wait_aside(self, flight: Flight, shortage: NoRoom) -> None:
        async def come_back() -> None:
            await shortage.wait()
            await self.inbox.put(flight)

        try:
            await self._patience.wait(come_back())
        finally:
            await self.inbox.close()

    async def _timed(self, flight: Flight) -> None:
        begun, through = now(), True
        try:
            await self._work.run(flight)
        except NoRoom:
            through = False
            raise
        finally:
            if through:
                self._note([flight], now() - begun)

    async def _under(self, turn: Turn, flight: Flight) -> None:
        async with turn.working():
            await self._timed(flight)


class BatchStage(Stage[BatchWork]):
    """A step that works on batches.

    It collects the next batch while others hold the slot, and delivers the last one while the next is running.
    """

    def _prepare(self) -> None:
        self._unit = self._work.batch_size
        self._linger = LEAST_LINGER_SECONDS
        self._deliveries: set[asyncio.Task[None]] = set()
        self._late = False

    def _behind(self) -> bool:
        return self._late

    async def _step(self, turn: Turn | None) -> None:
        batch = await self._collect()
        if not batch:
            return
        if self._progress.first_start is None:
            self._progress.first_start = now()
        if turn is not None:
            await self._patience.wait(turn.enter())
            batch += await self.inbox.take(self._work.batch_size - len(batch))
        begun = now()
        if turn is not None:
            async with turn.working():
                errors = await self._work.run_batch(batch)
        else:
            errors = await self._work.run_batch(batch)
        took = now() - begun
        self._linger = max(LEAST_LINGER_SECONDS, LINGER_SHARE * took)
        self._note(batch, took)
        self._progress.batches[self.name][len(batch)] += 1
        # The stage after is behind if it has not taken the last batch in the time of this one.
        self._late = sum(not delivery.done() for delivery in self._deliveries) >= self.concurrency
        await self._delivered(self.concurrency - 1)
        self._deliveries.add(asyncio.create_task(self._deliver(batch, errors)))

    async def _collect(self) -> list[Flight]:
        """A full batch; or a smaller one when nothing has been added to it for a while."""
        size = self._work.batch_size
        batch = await self.inbox.take(size)
        while batch and len(batch) < size and not self.inbox.closed:
            try:
                async with asyncio.timeout(self._linger):
                    await self.inbox.wait_ready()
            except TimeoutError:
                break
            batch += await self.inbox.take(size - len(batch))
        return batch

    async def _deliver(self, batch: Sequence[Flight], errors: Sequence[ImageError | None]) -> None:
        for flight, error in zip(batch, errors, strict=True):
            await self._forward(flight, error)

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

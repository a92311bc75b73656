"""Stages: the workers of one step, what they take from the stage before and hand to the stage after."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from imagejob_api.pipeline import Step
from imagejob_runner.exceptions import ImageError, SkipImage
from imagejob_runner.pipeline.channel import Channel
from imagejob_runner.pipeline.flight import Ended, Flight
from imagejob_runner.pipeline.patience import Patience
from imagejob_runner.pipeline.progress import Progress
from imagejob_runner.pipeline.retry import attempt
from imagejob_runner.pipeline.turn import Turn, now
from imagejob_runner.pipeline.works.base import NoRoom, Work

if TYPE_CHECKING:
    from imagejob_runner.pipeline.batch_stage import Batch

Finish = Callable[[Sequence[Ended]], Awaitable[None]]
"""Called with images that go no further."""

W = TypeVar("W")


@dataclass(slots=True)
class Worker:
    """One worker of a stage.

    Attributes:
        turn: Its turn on the step's limits; None for a step without limits.
        under_way: Batches that the device works on, oldest first: one while the next is made ready, and two for a moment.
        free_since: When the device was last through with a batch.
    """

    turn: Turn | None
    under_way: "deque[Batch]" = field(default_factory=deque)
    free_since: float = 0.0


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
        self._working = 0
        self._unit = 1
        """Images that are worth a slot."""
        self._prepare()

    def _prepare(self) -> None:
        """Sets up what a kind of stage needs besides."""

    async def work(self) -> None:
        """One worker: takes images until none come any more. Run it `concurrency` times."""
        turn = self._make_turn() if self._make_turn else None
        worker = Worker(turn)
        self._working += 1
        if turn is not None:
            turn.before_leaving = partial(self._settle, worker)
        try:
            while await self._ready(turn):
                await self._step(worker)
                if not self._has_unit():
                    await self._settle(worker)
                if turn is not None:
                    soon = self._unit_comes if self._coming() else None
                    await self._patience.wait(turn.after_work(ready=self._has_unit(), behind=self._behind(), soon=soon))
        finally:
            try:
                await self._settle(worker)
            finally:
                try:
                    if turn is not None:
                        await turn.leave()
                finally:
                    await self._close()
                    self._working -= 1
                    if not self._working:
                        # After a failure or a stop images may still be on their way here: nobody is to wait for room for them.
                        self.inbox.close(drop=True)

    async def _ready(self, turn: Turn | None) -> bool:
        """Waits for work; while holding a slot, lets it go when it is wanted elsewhere or idle for too long."""
        if turn is None or not turn.holding or self._can_go_on():
            return await self._next()
        ready, idle = asyncio.ensure_future(self._next()), asyncio.ensure_future(turn.idle())
        try:
            await asyncio.wait([ready, idle], return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                await turn.leave()
            return await ready
        finally:
            ready.cancel()
            idle.cancel()
            await asyncio.gather(ready, idle, return_exceptions=True)

    def _can_go_on(self) -> bool:
        return len(self.inbox) > 0

    async def _next(self) -> bool:
        """Waits until there is work, and room for what comes of it; False when none comes any more."""
        return await self.inbox.wait_ready()

    async def _step(self, worker: Worker) -> None:
        raise NotImplementedError

    async def _settle(self, worker: Worker) -> None:
        """Returns when nothing is under way any more that needs the worker's slots."""

    def _has_unit(self) -> bool:
        # A small batch is not worth a slot that others want, unless nothing will be added to it.
        return len(self.inbox) >= self._unit or (self.inbox.closed and len(self.inbox) > 0)

    async def _unit_comes(self) -> bool:
        return await self.inbox.wait_ready(self._unit)

    def _behind(self) -> bool:
        return self._outbox is not None and self._outbox.full

    async def _forward(self, worked_on: Sequence[Ended]) -> None:
        """Hands images on to the next stage, and those that go no further to the end."""
        if self._outbox is None:
            await self._finish(worked_on)
            return
        if failed := [(flight, error) for flight, error in worked_on if error is not None]:
            await self._finish(failed)
        if sound := [flight for flight, error in worked_on if error is None]:
            await self._outbox.put(sound)

    async def _close(self) -> None:
        if self._outbox is not None:
            self._outbox.close()

    async def _enter(self, turn: Turn) -> None:
        """Waits for the slots of a turn."""
        with self._progress.waits(self.name):
            await self._patience.wait(turn.enter())

    def _begin(self) -> None:
        if self._progress.first_start is None:
            self._progress.first_start = now()

    def _note(self, flights: Sequence[Flight], seconds: float) -> None:
        each = seconds / len(flights)
        for flight in flights:
            timings = flight.item.timings
            timings[self.name] = timings.get(self.name, 0.0) + each
        self._progress.stage_seconds[self.name] += seconds
        self._progress.stage_images[self.name] += len(flights)


class ImageStage(Stage[Work]):
    """A step that works on one image at a time, with retries.

    An image that has to wait for memory does so aside, out of its step's time, and keeps neither a slot nor a worker: both may be needed
    by the image of an older chunk that all others wait for.
    """

    def _prepare(self) -> None:
        self._aside: set[asyncio.Task[None]] = set()

    async def _step(self, worker: Worker) -> None:
        turn = worker.turn
        taken = self.inbox.take(1)
        if not taken:
            return  # another worker was first
        (flight,) = taken
        self._begin()
        error: ImageError | SkipImage | None = None
        try:
            await attempt(
                self._definition,
                flight,
                self._timed if turn is None else lambda flight: self._under(turn, flight),
                before=(lambda: self._enter(turn)) if turn else None,
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
        await self._forward([(flight, error)])

    async def _wait_aside(self, flight: Flight, shortage: NoRoom) -> None:
        async def come_back() -> None:
            await shortage.wait()
            await self.inbox.put([flight])

        try:
            await self._patience.wait(come_back())
        finally:
            self.inbox.close()

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


class PassStage(Stage[object]):
    """A step without work of its own: images go through, as many at once as there are."""

    async def _step(self, worker: Worker) -> None:
        del worker
        flights = self.inbox.take(len(self.inbox))
        if flights:
            self._begin()
            self._note(flights, 0.0)
            await self._forward([(flight, None) for flight in flights])

"""A worker's turn on its step's limits: when it takes the slots, keeps them and lets them go.

This is where an image waits for its slot: `Turn.enter`. The rules are those of the hold in docs/pipelines.md:

* with nobody waiting, the slot is kept, through short gaps too, and let go after `hold` without work;
* while others wait, it is let go at once when there is nothing ready or the next stage is behind, and after `hold` of work otherwise;
* but for work that only waits for a chunk to be written it is kept a moment: as long as that costs less than a hundredth of the work;
* the `maxHold` of a limit bounds `hold`, as it is now: its holding tells it;
* a slot that could not be renewed in time is not used for another batch.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

from imagejob_api.pipeline import StepLimit
from imagejob_runner.audit import Hold

REST_SHARE: Final = 0.01
MOST_REST_SECONDS: Final = 0.05
"""For how long a slot that others want may rest while a chunk is written: a share of the work since the last rest, and no longer than a
write to a disk takes."""


class Holding(Protocol):
    """What a Turn needs of `nodelease.Holding`, whose documentation says what each means."""

    limit: str
    id: str
    slots: tuple[int, ...]
    fence: int
    waited: bool
    asked_at: float
    max_hold_seconds: float

    @property
    def valid(self) -> bool:
        """Whether the slots may be used for another batch."""

    @property
    def contended(self) -> bool:
        """Whether somebody waits for them."""

    async def wait_contended(self) -> None:
        """Returns when somebody waits."""

    async def release(self) -> None:
        """Gives the slots back."""

    async def pass_on(self) -> "Holding":
        """Gives the slots to whoever waits and queues again, in one write; returns this very holding if nobody waits who goes first."""


class Limiter(Protocol):
    """What a Turn needs of `nodelease.LeaseClient`."""

    async def acquire(self, limit: str, *, slots: int, priority: int) -> Holding:
        """Waits for slots."""


def now() -> float:
    """Seconds of a clock that also counts while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Held:
    """A holding with what its audit record needs."""

    __slots__ = ("busy", "holding", "rested", "start")

    def __init__(self, holding: Holding) -> None:
        self.holding = holding
        self.start = now()
        self.busy = 0.0
        self.rested = 0.0
        """Work that there had been when it last rested."""


class Turn:
    """One worker's use of the limits of its step.

    Args:
        limiter: Takes slots.
        limits: The step's limits.
        priority: Of the job, in the limits' queues.
        node: Name of the node, for the records.
        boot: Boot id, for the records.
        record: Called with each hold when it ends.
        waiting: Called with +1 and -1 around each wait for a limit.
        holding: Called with +1 and -1 around each hold.
    """

    def __init__(
        self,
        limiter: Limiter,
        limits: Sequence[StepLimit],
        *,
        priority: int,
        node: str,
        boot: str,
        record: Callable[[Hold], None],
        waiting: Callable[[str, int], None],
        holding: Callable[[str, int], None],
    ) -> None:
        self._limiter = limiter
        self._limits = sorted(limits, key=lambda limit: limit.name)
        self._priority = priority
        self._node, self._boot = node, boot
        self._record, self._waiting, self._holding = record, waiting, holding
        self._held: list[_Held] = []
        self.before_leaving: Callable[[], Awaitable[None]] | None = None
        """Awaited before slots are let go: what a device still does under them has to end."""

    @property
    def _hold_seconds(self) -> float:
        """How long to go on: the shortest that a limit of the step is asked for, or allows."""
        asked = min((limit.hold_seconds for limit in self._limits), default=0.0)
        return min([asked, *(held.holding.max_hold_seconds for held in self._held)])

    @property
    def holding(self) -> bool:
        """Whether the slots are held."""
        return bool(self._held)

    async def enter(self) -> None:
        """Holds all slots of the step when it returns: here an image waits."""
        # Looked at again after each wait: while one limit is waited for, the slot of another may be lost.
        while len(self._held) < len(self._limits) or not all(held.holding.valid for held in self._held):
            await self.leave()
            await self._acquire()

    async def _acquire(self) -> None:
        try:
            for limit in self._limits:
                self._waiting(limit.name, 1)
                try:
                    holding = await self._limiter.acquire(limit.name, slots=limit.slots, priority=self._priority)
                finally:
                    self._waiting(limit.name, -1)
                self._start(holding)
        except BaseException:
            await self.leave()
            raise

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Counts the time inside as work under the slots."""
        begun = now()
        try:
            yield
        finally:
            self.worked(now() - begun)

    def worked(self, seconds: float) -> None:
        """Counts time as work under the slots."""
        for held in self._held:
            held.busy += seconds

    async def after_work(self, *, ready: bool, behind: bool, soon: Callable[[], Awaitable[bool]] | None = None) -> None:
        """Keeps the slots, passes them on, or lets them go.

        Args:
            ready: Another unit of work is there.
            behind: The next stage has no room for what this one makes.
            soon: Waits for a unit of work that needs only a moment, and says whether it came; None if there is none.
        """
        if not self._held:
            return
        contended = any(held.holding.contended for held in self._held)
        if not contended:
            if not ready and self._hold_seconds == 0:
                await self.leave()
            return
        if not ready and not behind and soon is not None:
            ready = await self._rest(soon)
        if not ready or behind:
            await self.leave()
        elif now() - max(held.start for held in self._held) >= self._hold_seconds:
            await self._pass_on()

    async def _rest(self, soon: Callable[[], Awaitable[bool]]) -> bool:
        worked = min(held.busy - held.rested for held in self._held)
        for held in self._held:
            held.rested = held.busy
        try:
            async with asyncio.timeout(min(MOST_REST_SECONDS, REST_SHARE * worked)):
                return await soon()
        except TimeoutError:
            return False

    async def idle(self) -> None:
        """While holding without work, waits until the slots should be let go: somebody wants them, or `hold` has passed.

        Cancel it when work comes.
        """
        waits = [asyncio.ensure_future(held.holding.wait_contended()) for held in self._held]
        try:
            await asyncio.wait(waits, timeout=self._hold_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def leave(self) -> None:
        """Lets all slots go."""
        try:
            await self._end_work()
        finally:
            await self._let_go()

    async def _end_work(self) -> None:
        if self._held and self.before_leaving is not None:
            await self.before_leaving()

    async def _let_go(self) -> None:
        while self._held:
            held = self._held.pop()
            self._holding(held.holding.limit, -1)
            self._note(held, now())
            await held.holding.release()

    async def _pass_on(self) -> None:
        # With several limits, waiting for one while holding a later one would break the order that keeps them free of deadlock.
        if len(self._held) > 1:
            await self.leave()
            await self.enter()
            return
        await self._end_work()
        held, end = self._held.pop(), now()
        limit = held.holding.limit
        self._holding(limit, -1)
        self._waiting(limit, 1)
        try:
            following = await held.holding.pass_on()
        except BaseException:
            self._note(held, end)
            raise
        finally:
            self._waiting(limit, -1)
        if following is held.holding:
            self._held.append(held)
            self._holding(limit, 1)
        else:
            self._note(held, end)
            self._start(following)

    def _start(self, holding: Holding) -> None:
        self._held.append(_Held(holding))
        self._holding(holding.limit, 1)

    def _note(self, held: _Held, end: float) -> None:
        holding = held.holding
        for slot in holding.slots:
            self._record(
                Hold(
                    node=self._node,
                    boot=self._boot,
                    limit=holding.limit,
                    slot=slot,
                    fence=holding.fence,
                    id=holding.id,
                    asked=holding.asked_at,
                    start=held.start,
                    end=end,
                    busy=held.busy,
                    waited=holding.waited,
                )
            )

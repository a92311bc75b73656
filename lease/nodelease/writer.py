"""Every write of one process to one Lease: one at a time, with what has gathered meanwhile put into the next.

Here is the compare-and-swap loop: apply the transitions to the newest state known, write it under that state's version, and when somebody
else was first, begin again from what they wrote.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from nodelease import transitions
from nodelease.clock import now
from nodelease.codec import stamp
from nodelease.constants import CONFLICT_FIRST_SECONDS, CONFLICT_LAST_SECONDS, RETRY_FIRST_SECONDS, RETRY_LAST_SECONDS
from nodelease.exceptions import ConflictError, LimitNotFoundError, MalformedLeaseError, StoreUnavailableError
from nodelease.state import LeaseState
from nodelease.store import LeaseStore, Observation, Snapshot

logger = logging.getLogger(__name__)

REQUESTS_AT_ONCE: Final = 64
"""Most requests in one write."""


@dataclass(slots=True)
class Counters:
    """What a client has cost a store, for one limit."""

    writes: int = 0
    """Writes done."""
    conflicts: int = 0
    """Writes refused because somebody else was first."""


@dataclass(eq=False, slots=True)
class Operation:
    """A transition to be written."""

    apply: Callable[[LeaseState], LeaseState]
    """The pure transition; may be applied several times, to different states."""
    done: Callable[[LeaseState, float], None] = lambda _state, _started: None
    """Told the state once it is written, or was found to need no write, and when that attempt began (CLOCK_BOOTTIME)."""
    urgent: bool = True
    """Whether others wait for it, or a holding depends on it. Then it is never written after or together with a mere request, which may be
    refused; and after a conflict it is written again at once, where a request makes way first."""


class LeaseWriter:
    """Keeps the newest state known of one limit, and writes to it.

    Args:
        store: Where the Lease is.
        limit: Which.
        changed: Told of each newer state, and None when the limit is gone.
    """

    def __init__(self, store: LeaseStore, limit: str, changed: Callable[[LeaseState | None], None]) -> None:
        self.snapshot: Snapshot | None = None
        self.problem = ""
        self.counters = Counters()
        self._store = store
        self._limit = limit
        self._changed = changed
        self._pending: list[Operation] = []
        self._stopped = False
        self._known = asyncio.Event()
        self._hurry = asyncio.Event()
        """Something urgent was submitted."""
        self._task: asyncio.Task[None] | None = None

    def submit(self, operation: Operation) -> None:
        """Write a transition after those submitted before; together with them where possible. Urgent ones go before all others."""
        if self._stopped:
            return
        self._pending.append(operation)
        if operation.urgent:
            self._hurry.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._drain())

    @property
    def busy(self) -> bool:
        """Whether something is left to write."""
        return self._task is not None

    async def drained(self) -> None:
        """Return when nothing is left to write."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Forget what is left to write, and whatever comes later."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def observe(self, observation: Observation) -> None:
        """Take in what the watch reports, unless it is older than what is known."""
        snapshot = observation.snapshot
        if snapshot is None and observation.unreadable:
            self._unreadable(observation.problem)
        elif snapshot is None:
            self._gone(observation.problem)
        elif self.snapshot is None or self._store.order(snapshot.version) > self._store.order(self.snapshot.version):
            self._learn(snapshot)

    def forget(self) -> None:
        """Know nothing, because nothing is watched any more."""
        self.snapshot = None
        self._known.clear()

    def _learn(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.problem = ""
        self._known.set()
        self._changed(snapshot.state)

    def _gone(self, problem: str) -> None:
        self._unreadable(problem)
        self._changed(None)

    def _unreadable(self, problem: str) -> None:
        """There is no telling what the Lease says: nothing is written, and nobody is told, until there is."""
        self.forget()
        if problem != self.problem:
            self.problem = problem
            logger.warning("Limit %r: %s", self._limit, problem)

    async def _drain(self) -> None:
        conflicts = failures = 0
        try:
            while self._pending:
                await self._known.wait()
                batch = self._next_batch()
                try:
                    await self._attempt(batch)
                    conflicts = failures = 0
                except ConflictError as error:
                    self.counters.conflicts += 1
                    conflicts += 1
                    if batch[0].urgent or error.current is not None:
                        await self._catch_up(error.current)
                    if not batch[0].urgent:
                        await self._make_way(conflicts)
                except LimitNotFoundError as error:
                    self._gone(str(error))
                except MalformedLeaseError as error:
                    self._unreadable(str(error))
                except Exception as error:
                    if not isinstance(error, StoreUnavailableError):
                        logger.exception("Writing the Lease of limit %r failed; trying again", self._limit)
                    self.problem = str(error)
                    failures += 1
                    await self._back_off(failures, RETRY_FIRST_SECONDS, RETRY_LAST_SECONDS, hurry=not batch[0].urgent)
        finally:
            self._task = None

    def _next_batch(self) -> tuple[Operation, ...]:
        self._hurry.clear()
        urgent = tuple(operation for operation in self._pending if operation.urgent)
        return urgent or tuple(self._pending[:REQUESTS_AT_ONCE])

    async def _attempt(self, batch: tuple[Operation, ...]) -> None:
        if self.snapshot is None:
            return
        before = self.snapshot
        started = now()
        state = before.state
        for operation in batch:
            state = operation.apply(state)
        state = transitions.counted(before.state, state)
        if state is not before.state:
            written = await self._store.replace(self._limit, stamp(before.state, state, started), before.version)
            self.counters.writes += 1
        else:
            written = before
        self._pending = [operation for operation in self._pending if operation not in batch]
        for operation in batch:
            operation.done(written.state, started)
        if self.snapshot is None or self._store.order(written.version) >= self._store.order(self.snapshot.version):
            self._learn(written)
        else:  # the watch was faster than the answer, and told of a later write already
            self._learn(self.snapshot)

    async def _catch_up(self, current: Snapshot | None) -> None:
        try:
            snapshot = current or await self._store.read(self._limit)
        except LimitNotFoundError as error:
            self._gone(str(error))
        except MalformedLeaseError as error:
            self._unreadable(str(error))
        except StoreUnavailableError as error:
            self.problem = str(error)  # the next attempt meets the same conflict, and reads again
        else:
            self.observe(Observation(snapshot))

    async def _make_way(self, conflicts: int) -> None:
        """Let others write first, then begin from what they have written: while slots change hands quickly, what won is old by then."""
        known = self.snapshot
        await self._back_off(conflicts, CONFLICT_FIRST_SECONDS, CONFLICT_LAST_SECONDS, hurry=True)
        if self.snapshot is known:
            await self._catch_up(None)

    async def _back_off(self, attempt: int, first: float, last: float, *, hurry: bool) -> None:
        """Pause; with `hurry` until something urgent comes."""
        seconds = random.uniform(0.5, 1) * min(last, first * 2 ** min(attempt - 1, 16))  # noqa: S311  no secret
        if not hurry:
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

"""Every write of one process to one Lease: one at a time, with what has gathered meanwhile put into the next.

Here is the compare-and-swap loop: apply the transitions to the newest state known, write it under that state's version, and when somebody
else was first, begin again from what they wrote.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from nodelease.clock import now
from nodelease.codec import stamp
from nodelease.constants import CONFLICT_FIRST_SECONDS, CONFLICT_LAST_SECONDS, RETRY_FIRST_SECONDS, RETRY_LAST_SECONDS
from nodelease.exceptions import ConflictError, LimitNotFoundError, MalformedLeaseError, StoreUnavailableError
from nodelease.state import LeaseState
from nodelease.store import LeaseStore, Observation, Snapshot

logger = logging.getLogger(__name__)


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
    """Whether others wait for it: after a conflict it is written again at once, where a mere request makes way first."""
    attempted: bool = False
    """Whether it may have been written."""


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
        self._task: asyncio.Task[None] | None = None

    def submit(self, operation: Operation) -> None:
        """Write a transition after those submitted before; together with them where possible."""
        if self._stopped:
            return
        self._pending.append(operation)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._drain())

    def revoke(self, operation: Operation) -> bool:
        """Take back an operation that cannot have been written; False if it may have been."""
        if operation.attempted:
            return False
        self._pending.remove(operation)
        return True

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
        if snapshot is None:
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
        self.forget()
        if problem != self.problem:
            self.problem = problem
            logger.warning("Limit %r: %s", self._limit, problem)
        self._changed(None)

    async def _drain(self) -> None:
        conflicts = failures = 0
        try:
            while self._pending:
                await self._known.wait()
                try:
                    await self._attempt()
                    conflicts = failures = 0
                except ConflictError as error:
                    self.counters.conflicts += 1
                    conflicts += 1
                    if not any(operation.urgent for operation in self._pending):
                        await _backoff(conflicts, CONFLICT_FIRST_SECONDS, CONFLICT_LAST_SECONDS)
                    await self._catch_up(error.current)
                except (LimitNotFoundError, MalformedLeaseError) as error:
                    self._gone(str(error))
                except Exception as error:
                    if not isinstance(error, StoreUnavailableError):
                        logger.exception("Writing the Lease of limit %r failed; trying again", self._limit)
                    self.problem = str(error)
                    failures += 1
                    await _backoff(failures, RETRY_FIRST_SECONDS, RETRY_LAST_SECONDS)
        finally:
            self._task = None

    async def _attempt(self) -> None:
        if self.snapshot is None or not self._pending:
            return
        before = self.snapshot
        batch = tuple(self._pending)
        started = now()
        state = before.state
        for operation in batch:
            state = operation.apply(state)
            operation.attempted = True
        if state is not before.state:
            written = await self._store.replace(self._limit, stamp(before.state, state, started), before.version)
            self.counters.writes += 1
        else:
            written = before
        del self._pending[: len(batch)]
        for operation in batch:
            operation.done(written.state, started)
        if self.snapshot is None or self._store.order(written.version) >= self._store.order(self.snapshot.version):
            self._learn(written)
        else:  # the watch was faster than the answer, and told of a later write already
            self._learn(self.snapshot)

    async def _catch_up(self, current: Snapshot | None) -> None:
        try:
            snapshot = current or await self._store.read(self._limit)
        except (LimitNotFoundError, MalformedLeaseError) as error:
            self._gone(str(error))
        except StoreUnavailableError as error:
            self.problem = str(error)  # the next attempt meets the same conflict, and reads again
        else:
            self.observe(Observation(snapshot))


async def _backoff(attempt: int, first: float, last: float) -> None:
    await asyncio.sleep(random.uniform(0.5, 1) * min(last, first * 2 ** min(attempt - 1, 16)))  # noqa: S311  no secret

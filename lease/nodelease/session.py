"""One limit as one process takes part in it: its claims, its holdings, and what they make of each new state.

Everything here runs in the client's own thread and loop. A state arrives, from the watch or from an own write, and `_review` compares it
with the claims and holdings: this is the only place where a claim becomes a holding and where a holding is found lost.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from itertools import takewhile

from nodelease import reasons, transitions
from nodelease.claim import Claim
from nodelease.clock import now
from nodelease.constants import ANSWER_SECONDS, RETRY_LAST_SECONDS, WATCH_LINGER_SECONDS
from nodelease.exceptions import AcquireTimeoutError, ClientClosedError, LimitNotFoundError
from nodelease.holding import Holding, Owner, counted_from
from nodelease.identity import process
from nodelease.operations import finish, renewal
from nodelease.row import Row
from nodelease.state import Holder, LeaseState
from nodelease.store import LeaseStore
from nodelease.watchdog import Watchdog
from nodelease.writer import LeaseWriter, Operation

logger = logging.getLogger(__name__)


class LimitSession:
    """Takes part in one limit.

    Args:
        store: Where the Lease is.
        limit: Name of the limit.
        owner: The client, which holdings call.
    """

    def __init__(self, store: LeaseStore, limit: str, owner: Owner) -> None:
        self.limit = limit
        self.writer = LeaseWriter(store, limit, self._review)
        self._store = store
        self._owner = owner
        self._claims: dict[Claim, None] = {}
        """All that wait, in the order in which they came."""
        self._rows: dict[tuple[int, int], Row] = {}
        """Where they queue, by priority and slots."""
        self._joins: dict[Row, Operation] = {}
        """Requests on their way."""
        self._confirming: dict[str, Claim] = {}
        """Claims that are granted by the id of the grant, which is renewed before it is used."""
        self._held: dict[str, Holding] = {}
        self._leaving: set[str] = set()
        """Ids that a write on its way takes out of the Lease."""
        self._releases: set[Future[None]] = set()
        self._watchdog = Watchdog(limit, self.writer, self._rank)
        self._duration: int | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._watch_task: asyncio.Task[None] | None = None
        self._renew_task: asyncio.Task[None] | None = None
        self._renewals_due = asyncio.Event()

    # What the client asks for.

    def acquire(self, claim: Claim, timeout: float | None) -> None:
        """Request the claim's slots, and give up after `timeout` seconds."""
        self._add(claim)
        if timeout is not None:
            claim.timer = asyncio.get_running_loop().call_later(timeout, self._time_out, claim, timeout)
        self._queue(claim)

    def pass_on(self, claim: Claim, previous: Holding) -> None:
        """Yield the previous holding's slots and request them again."""
        if previous.id not in self._held:  # lost or released: nothing is left to yield
            claim.previous = None
            self.acquire(claim, None)
            return
        previous.set_passing(passing=True)
        self._add(claim)
        row = self._row(claim)

        def apply(state: LeaseState) -> LeaseState:
            if claim.previous is None:  # abandoned meanwhile
                return state
            return row.give_way(state, claim, previous.id, previous.fence)

        self.writer.submit(Operation(apply, lambda state, _started: self._yielded(claim, previous, state)))

    def abandon(self, claim: Claim) -> None:
        """The caller does not want the claim any more: withdraw it, or give back what was granted too late."""
        claim.stop_timer()
        if claim.holding is not None:
            self.release(claim.holding, Future())
        elif claim in self._claims:
            del self._claims[claim]
            if claim.previous is not None:
                self._end(claim.previous)
                self._withdraw(claim.previous.id)
                claim.previous = None
            row = self._row(claim)
            if claim in row and (surplus := row.remove(claim)) is not None:
                self._withdraw(surplus)
            for request_id in [request_id for request_id, confirmed in self._confirming.items() if confirmed is claim]:
                del self._confirming[request_id]
                self._withdraw(request_id)
            self._settle()

    def release(self, holding: Holding, done: Future[None]) -> None:
        """Give a holding's slots up; `done` ends when that is written, or the slots have expired anyway."""
        if self._held.get(holding.id) is not holding:
            holding.end()
            finish(done)
            return
        self._end(holding)
        patience = asyncio.get_running_loop().call_later(self._duration or 0, finish, done)

        def written() -> None:
            patience.cancel()
            self._releases.discard(done)
            finish(done)

        self._releases.add(done)
        self._leave(holding.id, lambda state: transitions.release(state, holding.id), written)
        self._settle()

    def change(self, apply: Callable[[LeaseState], LeaseState], done: Future[None]) -> None:
        """Write a transition of the limit itself."""
        self._open()
        self.writer.submit(Operation(apply, lambda _state, _started: finish(done)))
        self._settle()

    async def close(self, patience: float) -> None:
        """End every claim and holding, tell the store if that is possible within `patience` seconds, and stop."""
        ids = {*self._held, *self._confirming, *(request_id for row in self._rows.values() for request_id in row.ids())}
        for claim in tuple(self._claims):
            claim.fail(ClientClosedError(f"the lease client was closed while it waited for limit {self.limit!r}"))
            claim.previous = None
        self._claims.clear()
        for row in self._rows.values():
            row.clear()
        for holding in tuple(self._held.values()):
            self._end(holding)
        if ids and self.writer.snapshot is not None:
            self.writer.submit(Operation(lambda state: transitions.reap(state, ids)))
        if self.writer.snapshot is not None:
            await asyncio.wait({asyncio.ensure_future(self.writer.drained())}, timeout=patience)
        await self.abort()

    async def abort(self) -> None:
        """Stop at this point, and tell the store nothing."""
        self._watchdog.stop()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        tasks = [task for task in (self._watch_task, self._renew_task) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(self.writer.stop(), *tasks, return_exceptions=True)
        for released in self._releases:
            finish(released)

    def waiting_reason(self) -> str | None:
        """Why a claim of this process waits, for people; None if none does. May be called from any thread."""
        claim = self._first_claim()
        if claim is None:
            return None
        row = self._rows.get(claim.kind)
        return self._obstacle(claim) or reasons.turn(self.limit, self._state, set(row.ids() if row is not None else ()))

    def obstacle(self) -> str | None:
        """What keeps a claim of this process waiting besides its turn, for people; None if nothing does. May be called from any thread."""
        claim = self._first_claim()
        if claim is None:
            return None
        unanswered = self.writer.snapshot is None and not self.writer.problem
        if unanswered and now() - claim.asked_at < ANSWER_SECONDS:
            return None
        return self._obstacle(claim)

    def _first_claim(self) -> Claim | None:
        return next(iter(tuple(self._claims)), None)

    def _obstacle(self, claim: Claim) -> str | None:
        row = self._rows.get(claim.kind)
        return reasons.obstacle(self.limit, self._state, self.writer.problem, claim, full=row is not None and row.full)

    @property
    def _state(self) -> LeaseState | None:
        snapshot = self.writer.snapshot
        return snapshot.state if snapshot is not None else None

    # From request to holding.

    def _add(self, claim: Claim) -> None:
        self._claims[claim] = None
        self._open()

    def _row(self, claim: Claim) -> Row:
        row = self._rows.get(claim.kind)
        if row is None:
            row = self._rows[claim.kind] = Row(self._owner.new_stem(), self._owner.pod, *claim.kind)
        return row

    def _open(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        if self._watch_task is None:
            self._watch_task = asyncio.get_running_loop().create_task(self._watch())

    def _queue(self, claim: Claim) -> None:
        row = self._row(claim)
        row.add(claim)
        self._join(row)

    def _join(self, row: Row) -> None:
        """Write what the row is to request, unless that is on its way already."""
        if row not in self._joins:
            self._joins[row] = Operation(row.join, lambda _state, _started: self._joined(row), urgent=False)
            self.writer.submit(self._joins[row])

    def _joined(self, row: Row) -> None:
        del self._joins[row]

    def _yielded(self, claim: Claim, previous: Holding, state: LeaseState) -> None:
        """The yield is written, or needed no write because nobody waits."""
        if claim.previous is None:
            return
        holder = state.holder(previous.id)
        if holder is None or holder.fence != previous.fence or previous.ended:
            self._end(previous)
            claim.previous = None
        elif now() < previous.deadline:
            self._keep(claim, previous)
        else:
            self._confirm(claim, holder)

    def _keep(self, claim: Claim, previous: Holding) -> None:
        previous.set_passing(passing=False)
        self._claims.pop(claim, None)
        if not claim.resolve(previous):
            self.release(previous, Future())

    def _confirm(self, claim: Claim, holder: Holder) -> None:
        """Renew a grant that may be old before it is used."""
        self._confirming[holder.id] = claim

        def confirmed(state: LeaseState, started: float) -> None:
            if self._confirming.pop(holder.id, None) is None:
                return  # abandoned
            current = state.holder(holder.id)
            if current is None or current.fence != holder.fence:
                logger.info("Request %s for limit %r was removed from its Lease; asking again", holder.id, self.limit)
                if claim.previous is not None:
                    self._end(claim.previous)
                    claim.previous = None
                self._queue(claim)
            elif claim.previous is not None:
                claim.previous.renewed(started, current.beat, state.duration_seconds)
                self._keep(claim, claim.previous)
            else:
                self._grant(claim, current, state, started)

        self.writer.submit(Operation(lambda state: transitions.renew(state, holder.id, holder.fence), confirmed))

    def _grant(self, claim: Claim, holder: Holder, state: LeaseState, since: float) -> None:
        holding = Holding(
            self._owner,
            self.limit,
            holder,
            priority=claim.priority,
            waited=claim.queued,
            asked_at=claim.asked_at,
            since=since,
            duration=state.duration_seconds,
        )
        holding.max_hold_seconds = state.bounds.max_hold_seconds
        self._claims.pop(claim, None)
        if not claim.resolve(holding):
            self._withdraw(holder.id)
            return
        self._held[holder.id] = holding
        self._renewals_due.set()
        if self._renew_task is None:
            self._renew_task = asyncio.get_running_loop().create_task(self._renew())

    def _review(self, state: LeaseState | None) -> None:
        """Make of a new state what concerns this process.

        Args:
            state: The state; None when there is no Lease.
        """
        if state is None:
            for holding in tuple(self._held.values()):
                self._lose(holding, "its limit is gone")
            self._duration = None
            return
        if state.duration_seconds != self._duration:
            self._duration_changed(state.duration_seconds)
        self._watchdog.observe(state)
        for row in tuple(self._rows.values()):
            self._review_row(row, state)
        for holding in tuple(self._held.values()):
            holder = state.holder(holding.id)
            if holder is not None and holder.fence == holding.fence:
                holding.max_hold_seconds = state.bounds.max_hold_seconds
                holding.set_contended(contended=state.contended(holding.id))
            elif not holding.passing:
                self._lose(holding, "others took it for dead")
        self._leave_what_nobody_wants(state)
        self._settle()

    def _review_row(self, row: Row, state: LeaseState) -> None:
        if not row:
            return
        for claim, holder in row.granted(state):
            if claim.previous is not None:  # the answer to its yield was lost
                self._end(claim.previous)
                claim.previous = None
            since = counted_from(holder, state.duration_seconds)
            if since is None:
                self._confirm(claim, holder)
            else:
                self._grant(claim, holder, state, since)
        row.note_queued(state)
        if row not in self._joins and row.waits(state):
            self._join(row)

    def _leave_what_nobody_wants(self, state: LeaseState) -> None:
        """Withdraw what stands in the Lease for this process and is none of its claims and holdings: as a write does that comes late."""
        own = {request_id for request_id in state.ids if self._owner.owns(request_id)} - self._leaving
        if own:
            own -= {*self._held, *self._confirming, *(request_id for row in self._rows.values() for request_id in row.ids())}
        for request_id in own:
            self._withdraw(request_id)

    def _withdraw(self, request_id: str) -> None:
        self._leave(request_id, lambda state: transitions.withdraw(state, request_id))

    def _leave(self, request_id: str, apply: Callable[[LeaseState], LeaseState], written: Callable[[], None] = lambda: None) -> None:
        def done(_state: LeaseState, _started: float) -> None:
            self._leaving.discard(request_id)
            written()

        self._leaving.add(request_id)
        self.writer.submit(Operation(apply, done))

    def _time_out(self, claim: Claim, timeout: float) -> None:
        reason = self.waiting_reason() or ""
        missing = self.writer.snapshot is None
        text = f"no slot of limit {self.limit!r} within {timeout:g} s: {reason}"
        claim.fail(LimitNotFoundError(text) if missing else AcquireTimeoutError(text))
        self.abandon(claim)

    # The life of holdings.

    def _rank(self, state: LeaseState) -> int | None:
        if not self._claims:
            return None
        ids = {request_id for row in self._rows.values() for request_id in row.ids()}
        return len({process(waiter.id) for waiter in takewhile(lambda waiter: waiter.id not in ids, state.queue)})

    def _end(self, holding: Holding) -> None:
        holding.end()
        if self._held.get(holding.id) is holding:
            del self._held[holding.id]

    def _lose(self, holding: Holding, why: str) -> None:
        logger.warning("Lost slots %s of limit %r (fence %d): %s", holding.slots, self.limit, holding.fence, why)
        self._end(holding)

    async def _renew(self) -> None:
        try:
            while self._held:
                self._renewals_due.clear()
                wait = min(holding.renew_at for holding in self._held.values()) - now()
                if wait > 0:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await self._renewals_due.wait()
                    continue  # those held now may be others
                renewed: Future[None] = Future()
                self.writer.submit(renewal(tuple(self._held.values()), renewed))
                await asyncio.wrap_future(renewed)
        finally:
            if self._renew_task is asyncio.current_task():
                self._renew_task = None

    def _duration_changed(self, duration: int) -> None:
        """Count with the new duration at once, and renew at once: others count with it too."""
        first = self._duration is None
        self._duration = duration
        if first:
            return
        self._watchdog.begin_anew()
        for holding in self._held.values():
            holding.set_duration(duration)
        if self._renew_task is not None:
            self._renew_task.cancel()
            self._renew_task = asyncio.get_running_loop().create_task(self._renew())

    # The watch, and what runs beside it.

    def _settle(self) -> None:
        """Keep running only the timers that somebody needs."""
        if self._claims:
            self._watchdog.start()
            return
        self._watchdog.stop()
        if not self._held and self._idle_timer is None:
            self._idle_timer = asyncio.get_running_loop().call_later(WATCH_LINGER_SECONDS, self._sleep)

    def _sleep(self) -> None:
        self._idle_timer = None
        if self.writer.busy:
            self._settle()
        elif not self._claims and not self._held and self._watch_task is not None:
            self._watch_task.cancel()
            self._watch_task = None
            self._rows.clear()
            self.writer.forget()

    async def _watch(self) -> None:
        while True:
            try:
                async for observation in self._store.watch(self.limit):
                    self.writer.observe(observation)
            except Exception:
                logger.exception("Watching limit %r failed; trying again", self.limit)
            await asyncio.sleep(RETRY_LAST_SECONDS)

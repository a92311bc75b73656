"""One limit as one process takes part in it: its claims, its holdings, and what they make of each new state.

Everything here runs in the client's own thread and loop. A state arrives, from the watch or from an own write, and `_review` compares it
with the claims and holdings: this is the only place where a claim becomes a holding and where a holding is found lost.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future

from nodelease import transitions
from nodelease.claim import Claim
from nodelease.clock import now
from nodelease.constants import ANSWER_SECONDS, RETRY_LAST_SECONDS, WATCH_LINGER_SECONDS
from nodelease.exceptions import AcquireTimeoutError, ClientClosedError, LimitNotFoundError
from nodelease.holding import Holding, Owner, counted_from
from nodelease.operations import finish, renewal
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
        self._claims: dict[str, Claim] = {}
        self._held: dict[str, Holding] = {}
        self._releases: set[Future[None]] = set()
        self._watchdog = Watchdog(limit, self.writer, self._claims)
        self._duration: int | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._watch_task: asyncio.Task[None] | None = None
        self._renew_task: asyncio.Task[None] | None = None

    # What the client asks for.

    def acquire(self, claim: Claim, timeout: float | None) -> None:
        """Request the claim's slots, and give up after `timeout` seconds."""
        self._add(claim)
        if timeout is not None:
            claim.timer = asyncio.get_running_loop().call_later(timeout, self._time_out, claim, timeout)
        self._submit_request(claim)

    def pass_on(self, claim: Claim, previous: Holding) -> None:
        """Yield the previous holding's slots and request them again."""
        if previous.id not in self._held:  # lost or released: nothing is left to yield
            claim.previous = None
            self.acquire(claim, None)
            return
        previous.set_passing(passing=True)
        self._add(claim)
        claim.operation = Operation(
            apply=lambda state: transitions.yield_(state, claim.waiter, previous.fence),
            done=lambda state, _started: self._yielded(claim, previous, state),
        )
        self.writer.submit(claim.operation)

    def abandon(self, claim: Claim) -> None:
        """The caller does not want the claim any more: withdraw it, or give back what was granted too late."""
        claim.stop_timer()
        if claim.holding is not None:
            self.release(claim.holding, Future())
        elif self._claims.pop(claim.waiter.id, None) is not None:
            revoked = not claim.requested and claim.operation is not None and self.writer.revoke(claim.operation)
            if claim.previous is not None:
                self._end(claim.previous)
            if not revoked or claim.previous is not None:
                self._withdraw(claim.waiter.id)
            self._settle()

    def release(self, holding: Holding, done: Future[None]) -> None:
        """Give a holding's slots up; `done` ends when that is written, or the slots have expired anyway."""
        if self._held.get(holding.id) is not holding:
            holding.end()
            finish(done)
            return
        self._end(holding)
        patience = asyncio.get_running_loop().call_later(self._duration or 0, finish, done)

        def written(_state: LeaseState, _started: float) -> None:
            patience.cancel()
            self._releases.discard(done)
            finish(done)

        self._releases.add(done)
        self.writer.submit(Operation(lambda state: transitions.release(state, holding.id), written))
        self._settle()

    def change(self, apply: Callable[[LeaseState], LeaseState], done: Future[None]) -> None:
        """Write a transition of the limit itself."""
        self._open()
        self.writer.submit(Operation(apply, lambda _state, _started: finish(done)))
        self._settle()

    async def close(self, patience: float) -> None:
        """End every claim and holding, tell the store if that is possible within `patience` seconds, and stop."""
        ids = {*self._claims, *self._held}
        for claim in tuple(self._claims.values()):
            claim.fail(ClientClosedError(f"the lease client was closed while it waited for limit {self.limit!r}"))
        self._claims.clear()
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
        if (obstacle := self._obstacle(claim)) is not None:
            return obstacle
        queue = self.writer.snapshot.state.queue if self.writer.snapshot is not None else ()
        place = next((place for place, waiter in enumerate(queue, 1) if waiter.id == claim.waiter.id), None)
        return f"limit {self.limit!r} is in use" + (f"; place {place} of {len(queue)} in its queue" if place else "")

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
        return next(iter(tuple(self._claims.values())), None)

    def _obstacle(self, claim: Claim) -> str | None:
        snapshot = self.writer.snapshot
        if snapshot is None or self.writer.problem:
            return self.writer.problem or f"the store has not answered yet about limit {self.limit!r}"
        state = snapshot.state
        if not state.active:
            return f"limit {self.limit!r} is not active"
        if not state.grantable(claim.waiter):
            return f"limit {self.limit!r} has {state.slots} slots and {claim.waiter.slots} are asked for"
        return None

    # From request to holding.

    def _add(self, claim: Claim) -> None:
        self._claims[claim.waiter.id] = claim
        self._open()

    def _open(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        if self._watch_task is None:
            self._watch_task = asyncio.get_running_loop().create_task(self._watch())

    def _submit_request(self, claim: Claim) -> None:
        claim.operation = Operation(
            apply=lambda state: transitions.request(state, claim.waiter),
            done=lambda _state, _started: self._requested(claim),
            urgent=False,
        )
        self.writer.submit(claim.operation)

    def _requested(self, claim: Claim) -> None:
        """The request is written, by this attempt or by one before whose answer was lost."""
        claim.operation = None
        claim.requested = True

    def _yielded(self, claim: Claim, previous: Holding, state: LeaseState) -> None:
        """The yield is written, or needed no write because nobody waits."""
        holder = state.holder(previous.id)
        if holder is None or holder.fence != previous.fence or previous.ended:
            self._end(previous)
            claim.previous = None
            self._requested(claim)
            return
        claim.operation = None
        claim.requested = True
        if now() < previous.deadline:
            self._keep(claim, previous)
        else:
            self._confirm(claim, holder)

    def _keep(self, claim: Claim, previous: Holding) -> None:
        previous.set_passing(passing=False)
        self._claims.pop(claim.waiter.id, None)
        if not claim.resolve(previous):
            self.release(previous, Future())

    def _confirm(self, claim: Claim, holder: Holder) -> None:
        """Renew a grant that may be old before it is used."""

        def confirmed(state: LeaseState, started: float) -> None:
            claim.operation = None
            current = state.holder(holder.id)
            if claim.waiter.id not in self._claims or current is None or current.fence != holder.fence:
                return  # abandoned, or expired: the review that follows asks again
            if claim.previous is not None:
                claim.previous.renewed(started, state.duration_seconds)
                self._keep(claim, claim.previous)
            else:
                self._grant(claim, holder, state, started)

        claim.operation = Operation(lambda state: transitions.renew(state, holder.id, holder.fence), confirmed)
        self.writer.submit(claim.operation)

    def _grant(self, claim: Claim, holder: Holder, state: LeaseState, since: float) -> None:
        holding = Holding(
            self._owner,
            self.limit,
            holder,
            priority=claim.waiter.priority,
            waited=claim.queued,
            asked_at=claim.asked_at,
            since=since,
            duration=state.duration_seconds,
        )
        del self._claims[holder.id]
        if not claim.resolve(holding):
            self._withdraw(holder.id)
            return
        self._held[holder.id] = holding
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
        for claim in tuple(self._claims.values()):
            if claim.operation is None:
                self._review_claim(claim, state)
        for holding in tuple(self._held.values()):
            holder = state.holder(holding.id)
            if holder is not None and holder.fence == holding.fence:
                holding.set_contended(contended=state.contended(holding.id))
            elif holding.id not in self._claims:
                self._lose(holding, "others took it for dead")
        self._settle()

    def _review_claim(self, claim: Claim, state: LeaseState) -> None:
        holder = state.holder(claim.waiter.id)
        if holder is not None:
            since = counted_from(holder, state.duration_seconds)
            if since is None:
                self._confirm(claim, holder)
            else:
                self._grant(claim, holder, state, since)
        elif state.waiter(claim.waiter.id) is not None:
            claim.queued = True
        else:
            logger.info("Request %s for limit %r was removed from its Lease; asking again", claim.waiter.id, self.limit)
            self._submit_request(claim)

    def _withdraw(self, request_id: str) -> None:
        self.writer.submit(Operation(lambda state: transitions.withdraw(state, request_id)))

    def _time_out(self, claim: Claim, timeout: float) -> None:
        reason = self.waiting_reason() or ""
        missing = self.writer.snapshot is None
        text = f"no slot of limit {self.limit!r} within {timeout:g} s: {reason}"
        claim.fail(LimitNotFoundError(text) if missing else AcquireTimeoutError(text))
        self.abandon(claim)

    # The life of holdings.

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
                wait = min(holding.renew_at for holding in self._held.values()) - now()
                if wait > 0:
                    await asyncio.sleep(wait)
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
            self.writer.forget()

    async def _watch(self) -> None:
        while True:
            try:
                async for observation in self._store.watch(self.limit):
                    self.writer.observe(observation)
            except Exception:
                logger.exception("Watching limit %r failed; trying again", self.limit)
            await asyncio.sleep(RETRY_LAST_SECONDS)

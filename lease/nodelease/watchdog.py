"""Expires holders that have stopped renewing. Whoever waits does so, since nobody else needs their slots."""

import asyncio
import logging
from collections.abc import Collection

from nodelease.clock import now
from nodelease.constants import RETRY_LAST_SECONDS
from nodelease.expiry import BeatObserver
from nodelease.operations import expiry
from nodelease.state import LeaseState
from nodelease.writer import LeaseWriter

logger = logging.getLogger(__name__)


class Watchdog:
    """Expires the dead holders of one limit while this process waits for it.

    Args:
        limit: Name of the limit.
        writer: Knows the limit's state, and writes to it.
        waiting: Ids of the requests of this process, as they are at any time.
    """

    def __init__(self, limit: str, writer: LeaseWriter, waiting: Collection[str]) -> None:
        self._limit = limit
        self._writer = writer
        self._waiting = waiting
        self._beats = BeatObserver()
        self._timer: asyncio.TimerHandle | None = None

    def observe(self, state: LeaseState) -> None:
        """Take in a state, also while nothing is waited for: a holder that is dead by then need not be looked at for so long again."""
        self._beats.observe(state, now())

    def start(self) -> None:
        """Look as soon as a holder may be dead; does nothing if that is planned already."""
        if self._timer is not None or self._writer.snapshot is None:
            return
        state = self._writer.snapshot.state
        due = self._beats.next_due(state, now(), self._rank(state))
        if due is not None:
            self._look_in(max(0.0, due - now()))

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def begin_anew(self) -> None:
        """Forget since when holders look as they do: with another lease duration they need time to renew."""
        self.stop()
        self._beats = BeatObserver()

    def _rank(self, state: LeaseState) -> int:
        return next((place for place, waiter in enumerate(state.queue) if waiter.id in self._waiting), len(state.queue))

    def _look_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._waiting or self._writer.snapshot is None:
            return
        state = self._writer.snapshot.state
        dead = self._beats.due(state, now(), self._rank(state))
        for holder in dead:
            logger.warning("Holder %s of limit %r has not renewed for %d s; expiring it", holder.pod, self._limit, state.duration_seconds)
            self._writer.submit(expiry(holder))
        if dead:
            self._look_in(RETRY_LAST_SECONDS)
        else:
            self.start()

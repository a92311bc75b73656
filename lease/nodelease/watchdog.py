"""Expires holders that have stopped renewing. Whoever waits does so, since nobody else needs their slots."""

import asyncio
import logging
from collections.abc import Callable

from nodelease.clock import now
from nodelease.constants import RETRY_LAST_SECONDS
from nodelease.expiry import BeatObserver, span
from nodelease.operations import expiry
from nodelease.state import LeaseState
from nodelease.writer import LeaseWriter

logger = logging.getLogger(__name__)


class Watchdog:
    """Expires the dead holders of one limit while this process waits for it.

    Args:
        limit: Name of the limit.
        writer: Knows the limit's state, and writes to it.
        rank: How many other processes stand before this one in the queue of a state; None if it waits for nothing.
    """

    def __init__(self, limit: str, writer: LeaseWriter, rank: Callable[[LeaseState], int | None]) -> None:
        self._limit = limit
        self._writer = writer
        self._rank = rank
        self._beats = BeatObserver()
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = 0.0

    def observe(self, state: LeaseState) -> None:
        """Take in a state, also while nothing is waited for: a holder that is dead by then need not be looked at for so long again."""
        self._beats.observe(state, now())

    def start(self) -> None:
        """Look as soon as a holder may be dead."""
        if self._writer.snapshot is None:
            return
        state = self._writer.snapshot.state
        rank = self._rank(state)
        due = None if rank is None else self._beats.next_due(state, now(), rank)
        if due is not None:
            self._look_at(due)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def begin_anew(self) -> None:
        """Forget since when holders look as they do: with another lease duration they need time to renew."""
        self.stop()
        self._beats = BeatObserver()

    def _look_at(self, time: float) -> None:
        if self._timer is not None and self._looks_at <= time:
            return  # it looks before, and plans anew then
        self.stop()
        self._looks_at = time
        self._timer = asyncio.get_running_loop().call_later(max(0.0, time - now()), self._look)

    def _look(self) -> None:
        self._timer = None
        if self._writer.snapshot is None:
            return
        state = self._writer.snapshot.state
        rank = self._rank(state)
        if rank is None:
            return
        dead = self._beats.due(state, now(), rank)
        for holder in dead:
            seconds = span(holder.beat, state.duration_seconds)
            logger.warning("Holder %s of limit %r has given no sign for %g s; expiring it", holder.pod, self._limit, seconds)
            self._writer.submit(expiry(holder))
        if dead:
            self._look_at(now() + RETRY_LAST_SECONDS)
        else:
            self.start()

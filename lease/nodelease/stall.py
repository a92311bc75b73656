"""Notices that this process stood still, so that a grant it then reads may be an old one.

Somebody else writes a waiter's grant, so a waiter that was stopped and goes on finds a grant of unknown age, and others may be about to
expire it. It must renew it first. A timer that fires late is the sign.
"""

import asyncio

from nodelease.clock import now


class StallMeter:
    """Ticks in the client's loop while it waits."""

    def __init__(self) -> None:
        self._interval = 0.0
        self._ticked_at = 0.0
        self._suspect_until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self, interval: float) -> None:
        """Begin to tick every `interval` seconds; does nothing if it ticks already."""
        if self._timer is None:
            self._interval = interval
            self._ticked_at = now()
            self._schedule()

    def stop(self) -> None:
        """Stop ticking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def stalled(self) -> bool:
        """Whether what is read now may have lain unread for longer than an interval."""
        time = now()
        return self._timer is not None and (time < self._suspect_until or time - self._ticked_at > 2 * self._interval)

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._tick)

    def _tick(self) -> None:
        time = now()
        if time - self._ticked_at > 2 * self._interval:
            self._suspect_until = time + self._interval  # what gathered meanwhile is still being read
        self._ticked_at = time
        self._schedule()

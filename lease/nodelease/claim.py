"""A request for slots on its way from the caller's thread to the client's, until it becomes a holding."""

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass, field

from nodelease.holding import Holding


@dataclass(eq=False, slots=True)
class Claim:
    """One call of `acquire` or `pass_on`. Used in the client's thread only, but for `future`."""

    priority: int
    """Higher goes first."""
    slots: int
    """How many slots it wants, all at once."""
    asked_at: float
    """When the caller asked: seconds of CLOCK_BOOTTIME."""
    previous: Holding | None = None
    """The holding that is passed on, until it is given up."""
    future: Future[Holding] = field(default_factory=Future)
    """Where the caller waits."""
    queued: bool = False
    """Whether it was seen in the queue."""
    holding: Holding | None = None
    """What the caller got."""
    timer: asyncio.TimerHandle | None = None
    """Ends the caller's patience."""

    @property
    def kind(self) -> tuple[int, int]:
        """Those who are alike in this queue together."""
        return self.priority, self.slots

    def resolve(self, holding: Holding) -> bool:
        """Give the caller its holding; False if the caller has left."""
        self.stop_timer()
        if not self.future.set_running_or_notify_cancel():
            return False
        self.holding = holding
        self.future.set_result(holding)
        return True

    def fail(self, error: Exception) -> None:
        """Give the caller an error."""
        self.stop_timer()
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)

    def stop_timer(self) -> None:
        """The caller's patience does not matter any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

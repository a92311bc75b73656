"""A slot in use, as its user sees it, from any thread or event loop."""

import asyncio
import math
from concurrent.futures import Future
from typing import Protocol

from nodelease.clock import now
from nodelease.constants import RENEW_FRACTION, STOP_FRACTION
from nodelease.exceptions import LeaseLostError
from nodelease.expiry import span
from nodelease.signals import ThreadsafeSignal
from nodelease.state import Holder


def counted_from(holder: Holder, duration: float) -> float | None:
    """Since when a grant that a state shows may be counted on: not later than it was written, on this process's own clock.

    Others count from when they see a grant, which is after it was written. So counting from before keeps the whole last third of the
    time that it has as the margin, however long the news was on its way.

    Args:
        holder: Who holds it.
        duration: The lease duration, in seconds.

    Returns:
        Seconds of CLOCK_BOOTTIME. None: it was granted by somebody whose clock is another one, or so long ago that a renewal is due. Then
        it has to be renewed before it is used.
    """
    since = holder.granted.here() if holder.granted is not None else None
    return since if since is not None and now() < since + span(holder.beat, duration) * RENEW_FRACTION else None


class Owner(Protocol):
    """What a limit's session, and the holdings that come from it, need from the client."""

    pod: str
    """Who that is, for people and for the reaper: `namespace/name`."""

    def owns(self, request_id: str) -> bool:
        """Whether the id is that of a request of this client."""
        ...

    def new_stem(self) -> str:
        """What the ids of one more row of requests begin with; a number follows."""
        ...

    def release(self, holding: "Holding") -> Future[None]:
        """Give the slots up; the future ends when that is written."""
        ...

    async def pass_on(self, holding: "Holding") -> "Holding":
        """Yield and wait for the next grant."""
        ...


class Holding:
    """The right to use a limit's slots, until released or lost.

    Made by `LeaseClient`, never by hand. Check `valid` before each piece of work that uses the resource.
    """

    def __init__(
        self, owner: Owner, limit: str, holder: Holder, *, priority: int, waited: bool, asked_at: float, since: float, duration: float
    ) -> None:
        self.limit = limit
        """Name of the limit."""
        self.id = holder.id
        """Id of the request in the Lease."""
        self.slots = holder.slots
        """Numbers of the slots held."""
        self.fence = holder.fence
        """Number of this grant: grows with every grant of the limit, so a resource can refuse what comes late."""
        self.priority = priority
        """Priority it was asked with."""
        self.waited = waited
        """Whether it had to queue."""
        self.asked_at = asked_at
        """When it was asked for: seconds of CLOCK_BOOTTIME."""
        self.granted_at = now()
        """When it became usable: seconds of CLOCK_BOOTTIME."""
        self.max_hold_seconds = math.inf
        """How long the limit lets anybody go on while others wait."""
        self._owner = owner
        self._renewed_at = since
        self._beat = holder.beat
        self._duration = duration
        self._ended = False
        self._passing = False
        self._contended = False
        self._news = ThreadsafeSignal()

    @property
    def valid(self) -> bool:
        """Whether the resource may be used.

        False for good once released or lost, and whenever two thirds of the lease duration have passed without a successful renewal:
        a third of it later somebody else may be granted the slot. Then stop, `release`, and acquire again. Until the first renewal,
        which comes within a second, the same holds of two seconds in place of the duration.
        """
        return not self._ended and not self._passing and now() < self.deadline

    @property
    def deadline(self) -> float:
        """Until when it is valid unless renewed: seconds of CLOCK_BOOTTIME."""
        return self._renewed_at + span(self._beat, self._duration) * STOP_FRACTION

    @property
    def duration_seconds(self) -> float:
        """Lease duration of the limit: seconds without a renewal after which somebody else may be granted the slots."""
        return self._duration

    @property
    def contended(self) -> bool:
        """Whether somebody waits who could use these slots, or the limit shrank below them.

        A holder of higher priority than all who wait is contended too: it should release when it has nothing to do, but `pass_on`
        keeps its slot.
        """
        return self._contended and not self._ended

    def ensure_valid(self) -> None:
        """Raise unless `valid`.

        Raises:
            LeaseLostError: The slots may be somebody else's by now.
        """
        if not self.valid:
            raise LeaseLostError(f"slots {self.slots} of limit {self.limit!r} (fence {self.fence}) are not held any more; acquire again")

    async def wait_contended(self) -> None:
        """Return when `contended` is true or `valid` is false."""
        while self.valid and not self.contended:
            with self._news.waiter() as news:
                if self.valid and not self.contended:
                    await asyncio.wait({news}, timeout=max(0.0, self.deadline - now()))

    async def release(self) -> None:
        """Give the slots up and hand them to whoever waits. Does nothing when released or lost before.

        Returns when the store has it. While the store cannot be reached it returns after a lease duration: the slot has expired.
        """
        await asyncio.wrap_future(self._owner.release(self))

    def release_blocking(self) -> None:
        """`release` for threads without an event loop."""
        self._owner.release(self).result()

    async def pass_on(self) -> "Holding":
        """Let the next in the queue have its turn, and queue again at the end, in one write.

        Returns:
            The next grant, with a new fence; or this holding, without any write, if nobody waits who goes first.
        """
        return await self._owner.pass_on(self)

    # What follows is for the client's thread.

    @property
    def renew_at(self) -> float:
        """When the next renewal is due."""
        return self._renewed_at + span(self._beat, self._duration) * RENEW_FRACTION

    @property
    def passing(self) -> bool:
        """Being passed on."""
        return self._passing

    @property
    def ended(self) -> bool:
        """Released or lost."""
        return self._ended

    def renewed(self, since: float, beat: int, duration: float) -> None:
        """Take in that a write begun at `since` showed this holding alive, as its so many-th renewal, under a lease of this duration."""
        self._renewed_at = max(self._renewed_at, since)
        self._beat = beat
        self._duration = duration

    def set_duration(self, duration: float) -> None:
        """Take in that the limit's lease duration changed."""
        self._duration = duration
        self._news.notify()

    def set_passing(self, *, passing: bool) -> None:
        """Take in that a yield has begun, or came to nothing."""
        self._passing = passing
        self._news.notify()

    def set_contended(self, *, contended: bool) -> None:
        """Take in whether somebody waits."""
        if contended != self._contended:
            self._contended = contended
            self._news.notify()

    def end(self) -> None:
        """Take in that it is released or lost."""
        self._ended = True
        self._news.notify()

    def __repr__(self) -> str:
        return f"<Holding {self.limit} slots={self.slots} fence={self.fence} {'valid' if self.valid else 'not valid'}>"

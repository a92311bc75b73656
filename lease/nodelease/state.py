"""What a Lease says, as values: who holds which slots, and who waits.

Nothing here changes anything; `transitions` does, and it and everyone who reads a state share the rules below.
"""

from dataclasses import dataclass

from nodelease.bounds import UNBOUNDED, Bounds
from nodelease.clock import Moment
from nodelease.constants import DEFAULT_DURATION_SECONDS


@dataclass(frozen=True, slots=True)
class Holder:
    """One who uses the resource."""

    id: str
    """The request's id, unique for ever."""
    pod: str
    """Who that is, for people and for the reaper: `namespace/name`."""
    fence: int
    """Number of the grant."""
    beat: int
    """Renewals so far."""
    slots: tuple[int, ...]
    """Numbers of the slots held, ascending."""
    granted: Moment | None = None
    """When the write that granted it was begun; None once it was renewed, or if nobody said."""


@dataclass(frozen=True, slots=True)
class Waiter:
    """One who waits."""

    id: str
    """The request's id, unique for ever."""
    pod: str
    """Who that is: `namespace/name`."""
    priority: int = 0
    """Higher goes first."""
    slots: int = 1
    """How many slots it wants, all at once."""


@dataclass(frozen=True, slots=True)
class LeaseState:
    """One limit on one node."""

    slots: int
    """How many slots the limit has."""
    duration_seconds: int = DEFAULT_DURATION_SECONDS
    """A holder that does not renew for this long is taken for dead."""
    active: bool = True
    """False: nobody is granted anything, and those who hold drain."""
    holders: tuple[Holder, ...] = ()
    """In the order of their grants."""
    queue: tuple[Waiter, ...] = ()
    """In the order in which they will be granted: by priority, then first come, first served."""
    transitions: int = 0
    """The newest fence: one more with each grant."""
    epoch: int = 0
    """The fence that the Lease began with, which was no grant's."""
    acquire_time: str | None = None
    """Time of day of the newest grant, for people."""
    renew_time: str | None = None
    """Time of day of the newest renewal, for people."""
    bounds: Bounds = UNBOUNDED
    """How much of it anybody may ask for."""

    @property
    def grants(self) -> int:
        """Grants made in this epoch."""
        return self.transitions - self.epoch

    @property
    def ids(self) -> set[str]:
        """Ids of all who hold or wait."""
        return {entry.id for entry in self.holders} | {entry.id for entry in self.queue}

    def holder(self, request: str) -> Holder | None:
        """The holder with this id."""
        return next((holder for holder in self.holders if holder.id == request), None)

    def waiter(self, request: str) -> Waiter | None:
        """The waiter with this id."""
        return next((waiter for waiter in self.queue if waiter.id == request), None)

    @property
    def capacity(self) -> int:
        """Slots that may be in use: none while the limit is inactive."""
        return self.slots if self.active else 0

    @property
    def held(self) -> int:
        """Slots in use; more than `capacity` while a shrunk limit drains."""
        return sum(len(holder.slots) for holder in self.holders)

    @property
    def free(self) -> tuple[int, ...]:
        """Numbers of the slots that may be granted now, lowest first.

        A holder that drains from beyond a shrunk limit still uses the resource, so it counts against the slots that are left.
        """
        count = self.capacity - self.held
        if count <= 0:
            return ()
        used = {slot for holder in self.holders for slot in holder.slots}
        return tuple(slot for slot in range(self.slots) if slot not in used)[:count]

    def grantable(self, waiter: Waiter) -> bool:
        """Whether the limit is large enough for this waiter at all; one that is not is passed over, or it would block everyone."""
        return waiter.slots <= self.slots

    def drains(self, holder: Holder) -> bool:
        """Whether this holder stands beyond what a shrunk or inactive limit allows, and should not go on at its next yield."""
        return self.held > self.capacity and holder.slots[-1] >= self.capacity

    def gives_way(self, holder: Holder, priority: int) -> bool:
        """Whether a holder with this priority gives up its slots when it yields: to those who go first, or as the limit drains."""
        bounded = self.bounds.priority(priority)
        return self.drains(holder) or any(self.grantable(other) and other.priority >= bounded for other in self.queue)

    def contended(self, request: str) -> bool:
        """Whether the holder with this id is in somebody's way: others wait who could be granted, or the limit drains."""
        holder = self.holder(request)
        if holder is None:
            return False
        return self.drains(holder) or any(self.grantable(waiter) for waiter in self.queue)

"""What the lease needs from whatever keeps the state: compare-and-swap and a watch.

`local.store` has the limits of one machine; `kubernetes.store` those of a cluster's node, by `get`, `update` and `watch` on one Lease.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from nodelease.state import LeaseState


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state and the version under which the store keeps it."""

    version: str
    """Opaque but for `LeaseStore.order`: the resourceVersion."""
    state: LeaseState


@dataclass(frozen=True, slots=True)
class Observation:
    """What a watch reports."""

    snapshot: Snapshot | None
    """None: there is nothing to be granted from; `problem` says why."""
    problem: str = ""
    """Why there is no snapshot, for people: the limit does not exist, its Lease is malformed, or the store cannot be reached."""
    unreadable: bool = False
    """Whether there may be a Lease that cannot be read or understood now. Those who hold slots may find themselves in it later."""


class LeaseStore(Protocol):
    """A store of Leases, used from one event loop.

    Every method may raise `StoreUnavailableError`. After it a write may or may not have been done: the caller applies its transition
    again to what it then finds.
    """

    async def read(self, limit: str) -> Snapshot:
        """The newest state, never one from a cache.

        Raises:
            LimitNotFoundError: There is no such limit.
            MalformedLeaseError: It cannot be understood.
        """
        ...

    async def create(self, limit: str, state: LeaseState) -> Snapshot:
        """Make a new limit.

        Raises:
            ConflictError: It exists.
            InvalidRequestError: The limits of this store are made elsewhere.
        """
        ...

    async def replace(self, limit: str, state: LeaseState, expected: str) -> Snapshot:
        """Write `state` if the version is still `expected`.

        Raises:
            ConflictError: It is not.
            LimitNotFoundError: There is no such limit any more.
        """
        ...

    def watch(self, limit: str) -> AsyncIterator[Observation]:
        """Report the state now, whenever it changes, and whenever the limit comes or goes. Never ends, and mends itself when broken.

        Only the newest state matters: a slow reader may miss those between. Reports need not be in step with this client's own
        writes; a reader ignores those that `order` puts before what it knows. Nor need they be news: a grant says itself when it was
        made.
        """
        ...

    async def limits(self) -> list[str]:
        """Names of the limits there are, sorted."""
        ...

    def order(self, version: str) -> int:
        """A number that grows with the versions of one limit."""
        ...

    async def close(self) -> None:
        """Give everything back. Nothing may be called afterwards."""
        ...

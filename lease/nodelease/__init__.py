"""Slots of a node's limited resources, shared first come, first served through one Lease.

`LeaseClient` is the whole of it; `NodeLimit` is the same in one line. docs/lease.md explains both.
"""

from nodelease.bounds import Bounds
from nodelease.client import LeaseClient
from nodelease.exceptions import (
    AcquireTimeoutError,
    ClientClosedError,
    ConflictError,
    InvalidRequestError,
    LeaseError,
    LeaseLostError,
    LimitNotFoundError,
    LocalDirectoryError,
    MalformedLeaseError,
    StoreError,
    StoreUnavailableError,
)
from nodelease.holding import Holding
from nodelease.limit import NodeLimit
from nodelease.state import Holder, LeaseState, Waiter
from nodelease.writer import Counters

__all__ = [
    "AcquireTimeoutError",
    "Bounds",
    "ClientClosedError",
    "ConflictError",
    "Counters",
    "Holder",
    "Holding",
    "InvalidRequestError",
    "LeaseClient",
    "LeaseError",
    "LeaseLostError",
    "LeaseState",
    "LimitNotFoundError",
    "LocalDirectoryError",
    "MalformedLeaseError",
    "NodeLimit",
    "StoreError",
    "StoreUnavailableError",
    "Waiter",
]

"""Every error the lease raises on purpose.

LeaseError
├── InvalidRequestError         an argument cannot be meant (also a ValueError)
├── LimitNotFoundError          no such limit on this node
├── AcquireTimeoutError         the slot was not granted in time (also a TimeoutError)
├── LeaseLostError              the holding ended before its user gave it back
├── ClientClosedError           the client was closed, or belongs to another process
├── MalformedLeaseError         a stored Lease does not keep the contract
└── StoreError                  the store did not do what it was asked to
    ├── ConflictError           somebody else wrote first
    ├── StoreUnavailableError   the store cannot be reached now
    └── LocalDirectoryError     the local store's directory cannot be used
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nodelease.store import Snapshot


class LeaseError(Exception):
    """A slot cannot be had or kept. The message says what, where and what to do."""


class InvalidRequestError(LeaseError, ValueError):
    """An argument cannot be meant."""


class LimitNotFoundError(LeaseError):
    """The limit does not exist on this node."""


class AcquireTimeoutError(LeaseError, TimeoutError):
    """The slot was not granted within the time that the caller gave."""


class LeaseLostError(LeaseError):
    """The holding ended before its user gave it back: expired, reaped, or its limit deleted."""


class ClientClosedError(LeaseError):
    """The client was closed, or is used in another process than the one that made it."""


class MalformedLeaseError(LeaseError):
    """A stored Lease does not keep the contract, so nothing may be granted from it."""


class StoreError(LeaseError):
    """The store did not do what it was asked to."""


class ConflictError(StoreError):
    """Somebody else wrote first.

    Args:
        message: What was to be written.
        current: The state that won, where the store tells it with the refusal; None means that it has to be read.
    """

    def __init__(self, message: str, current: "Snapshot | None" = None) -> None:
        super().__init__(message)
        self.current = current


class StoreUnavailableError(StoreError):
    """The store cannot be reached now; whether a write in flight was done is not known."""


class LocalDirectoryError(StoreError):
    """The directory of the local store cannot be used."""

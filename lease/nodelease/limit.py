"""`NodeLimit`: hold a slot around a block of code, in one line."""

import atexit
import os
import socket
import threading
from types import TracebackType

from nodelease.client import LeaseClient
from nodelease.exceptions import InvalidRequestError
from nodelease.holding import Holding
from nodelease.kubernetes.environment import is_member

_lock = threading.Lock()
_clients: dict[int, LeaseClient] = {}


def default_client() -> LeaseClient:
    """The client that this process shares among all `NodeLimit` blocks that bring none. Closed when the process ends.

    In a pod that was told where its Leases are, it takes part in the limits of its node; elsewhere in those of this machine.
    """
    with _lock:
        client = _clients.get(os.getpid())
        if client is None:
            _clients.clear()  # a fork's copies of its parent's client are not its own to close
            client = _clients[os.getpid()] = _new_client()
            atexit.register(client.close)
        return client


def _new_client() -> LeaseClient:
    if is_member(os.environ):
        return LeaseClient.kubernetes()
    return LeaseClient.local(f"{socket.gethostname()}/{os.getpid()}")


class NodeLimit:
    """Holds slots of a limit of this node inside a `with` or an `async with` block.

        async with NodeLimit("gpu") as holding:
            ...

    A block may run for any time: the lease is renewed in the background. Work that goes on for minutes should look at `holding.valid`.

    Args:
        limit: Name of the limit.
        slots: How many slots, granted all at once.
        priority: Higher goes first.
        timeout: Seconds to wait at most; None waits for ever.
        client: Whom to ask; by default one that the process shares.

    Raises:
        AcquireTimeoutError: Not granted in time.
        LimitNotFoundError: Not granted in time, because there is no such limit.
    """

    def __init__(
        self, limit: str, *, slots: int = 1, priority: int = 0, timeout: float | None = None, client: LeaseClient | None = None
    ) -> None:
        self._limit = limit
        self._slots = slots
        self._priority = priority
        self._timeout = timeout
        self._client = client
        self._holding: Holding | None = None

    async def __aenter__(self) -> Holding:
        client = self._ready()
        self._holding = await client.acquire(self._limit, slots=self._slots, priority=self._priority, timeout=self._timeout)
        return self._holding

    async def __aexit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        holding, self._holding = self._holding, None
        if holding is not None:
            await holding.release()

    def __enter__(self) -> Holding:
        client = self._ready()
        self._holding = client.acquire_blocking(self._limit, slots=self._slots, priority=self._priority, timeout=self._timeout)
        return self._holding

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        holding, self._holding = self._holding, None
        if holding is not None:
            holding.release_blocking()

    def _ready(self) -> LeaseClient:
        if self._holding is not None:
            raise InvalidRequestError(f"this NodeLimit({self._limit!r}) is entered already; make one for each block")
        return self._client if self._client is not None else default_client()

"""`LeaseStore` over the local store's server: one connection for all limits, mended when it breaks."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nodelease.codec import encode
from nodelease.constants import RETRY_FIRST_SECONDS, RETRY_LAST_SECONDS
from nodelease.exceptions import StoreUnavailableError
from nodelease.local.connection import ServerConnection, connect
from nodelease.local.constants import PROTOCOL
from nodelease.local.wire import to_snapshot
from nodelease.state import LeaseState
from nodelease.store import Observation, Snapshot


@dataclass(slots=True)
class _Channel:
    """What a watched limit's reports go through. Only the newest is kept."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    newest: Snapshot | None = None


class LocalStore:
    """The store of this machine, for one client.

    Args:
        directory: Where its server is.
        pod: Who the client is, for people.
        prefix: What all ids of the client begin with; the server reaps them when the connection closes.
    """

    def __init__(self, directory: Path, pod: str, prefix: str) -> None:
        self._directory = directory
        self._pod = pod
        self._prefix = prefix
        self._connection: ServerConnection | None = None
        self._connecting: asyncio.Task[ServerConnection] | None = None
        self._channels: dict[str, _Channel] = {}
        self._closed = False

    async def read(self, limit: str) -> Snapshot:
        """See `LeaseStore.read`."""
        answer = await self._ask("read", limit=limit)
        return _known(to_snapshot(answer))

    async def create(self, limit: str, state: LeaseState) -> Snapshot:
        """See `LeaseStore.create`."""
        answer = await self._ask("replace", limit=limit, expected=None, lease=encode(state))
        return _known(to_snapshot(answer))

    async def replace(self, limit: str, state: LeaseState, expected: str) -> Snapshot:
        """See `LeaseStore.replace`."""
        answer = await self._ask("replace", limit=limit, expected=expected, lease=encode(state))
        return Snapshot(answer["version"], state)

    async def limits(self) -> list[str]:
        """See `LeaseStore.limits`."""
        return list((await self._ask("limits"))["limits"])

    async def watch(self, limit: str) -> AsyncIterator[Observation]:
        """See `LeaseStore.watch`."""
        channel = self._channels[limit] = _Channel()
        shows_state, delay = False, RETRY_FIRST_SECONDS
        try:
            while True:
                try:
                    connection = await self._connected()
                    first = to_snapshot(await connection.ask("watch", limit=limit))
                except StoreUnavailableError as error:
                    if not shows_state:  # who holds loses nothing by this until it cannot renew
                        yield Observation(None, str(error))
                    await asyncio.sleep(delay)
                    delay = min(2 * delay, RETRY_LAST_SECONDS)
                    continue
                yield _observation(limit, first)
                shows_state, delay = first is not None, RETRY_FIRST_SECONDS
                while not connection.lost:
                    await channel.changed.wait()
                    channel.changed.clear()
                    if channel.newest is not None:
                        newest, channel.newest = channel.newest, None
                        yield _observation(limit, newest)
                        shows_state = True
        finally:
            if self._channels.get(limit) is channel:
                del self._channels[limit]
                if self._connection is not None:
                    self._connection.post("unwatch", limit=limit)

    def order(self, version: str) -> int:
        """See `LeaseStore.order`."""
        return int(version)

    async def close(self) -> None:
        """See `LeaseStore.close`."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._connection is not None:
            self._connection.close()
            await asyncio.sleep(0)  # asyncio closes the socket in the loop's next round

    async def _ask(self, op: str, **arguments: object) -> Any:  # noqa: ANN401  JSON has no static type
        return await (await self._connected()).ask(op, **arguments)

    async def _connected(self) -> ServerConnection:
        if self._closed:
            raise StoreUnavailableError("the local store was closed")
        if self._connection is not None and not self._connection.lost:
            return self._connection
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> ServerConnection:
        try:
            connection = await connect(self._directory, lambda: ServerConnection(self._reported, self._lost))
            try:
                await connection.ask("hello", protocol=PROTOCOL, prefix=self._prefix, pod=self._pod)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
            return connection
        finally:
            self._connecting = None

    def _reported(self, limit: str, snapshot: Snapshot | None) -> None:
        channel = self._channels.get(limit)
        if channel is not None:
            channel.newest = snapshot
            channel.changed.set()

    def _lost(self) -> None:
        for channel in self._channels.values():
            channel.changed.set()


def _known(snapshot: Snapshot | None) -> Snapshot:
    if snapshot is None:
        raise StoreUnavailableError("the local store's server gave no state")
    return snapshot


def _observation(limit: str, snapshot: Snapshot | None) -> Observation:
    if snapshot is None:
        return Observation(None, f"limit {limit!r} does not exist on this machine; a NodeLimit of a run makes it")
    return Observation(snapshot)

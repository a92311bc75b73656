"""The server of the local store, but for its process, which is `server`'s.

It decides nothing about who gets a slot. It keeps Leases under compare-and-swap, tells those who watch, and takes the operator's part of
removing those who are gone: a connection that closes is reaped at once. Whatever a client sends can end that client's connection only.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

from nodelease import transitions
from nodelease.clock import now, wall_microseconds
from nodelease.codec import decode, stamp
from nodelease.constants import LIMIT_NAME, MOST_GRANTS
from nodelease.exceptions import ConflictError, LeaseError, LimitNotFoundError, MalformedLeaseError, StoreUnavailableError
from nodelease.local.constants import GRACE_SECONDS, IDLE_SECONDS, PROTOCOL
from nodelease.local.files import StateFiles
from nodelease.local.processes import is_alive
from nodelease.local.wire import GarbageError, LineReader, document, to_line
from nodelease.state import LeaseState
from nodelease.store import Snapshot

logger = logging.getLogger(__name__)

REAP_RETRY_SECONDS: Final = 1.0
ONLOOKER_SECONDS: Final = 1.0
"""Those whom a write does not concern hear of it so much later, and of several writes at once."""


class LeaseServer:
    """Keeps the Leases of one directory.

    Args:
        files: Where they are on disk.
    """

    def __init__(self, files: StateFiles) -> None:
        self.connections: set[ClientConnection] = set()
        self.ended = asyncio.Event()
        self._files = files
        self._leases = files.load()
        self._onlookers: dict[str, asyncio.TimerHandle] = {}
        self._idle_timer: asyncio.TimerHandle | None = None
        before = {_prefix(request) for lease in self._leases.values() for request in lease.state.ids}
        asyncio.get_running_loop().call_later(GRACE_SECONDS, self._reap_absent, before)
        self._count_down()

    def joined(self, connection: "ClientConnection") -> None:
        """A client has said who it is. One of another version, which cannot, does not keep the server from ending."""
        self.connections.add(connection)
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def left(self, connection: "ClientConnection") -> None:
        """A client's connection has closed: remove what it held and where it waited."""
        self.connections.discard(connection)
        self._reap({connection.prefix})
        if not self.connections:
            self._count_down()

    def limits(self) -> list[str]:
        """Names of the limits."""
        return sorted(self._leases)

    def find(self, limit: str) -> Snapshot | None:
        """A limit's Lease."""
        return self._leases.get(limit)

    def read(self, limit: str) -> Snapshot:
        """A limit's Lease, or `LimitNotFoundError`."""
        found = self._leases.get(limit)
        if found is None:
            raise LimitNotFoundError(
                f"limit {limit!r} does not exist here; known: {', '.join(self.limits()) or 'none'}. A NodeLimit in a job file makes one"
            )
        return found

    def create(self, limit: str, state: LeaseState) -> Snapshot:
        """Make a limit. Its versions and fences begin at the time of day, so that they grow even if the directory was emptied meanwhile.

        All who watch are told, also the client that made it: it may have waited for a limit of this name before.
        """
        if LIMIT_NAME.fullmatch(limit) is None:
            raise MalformedLeaseError(f"{limit!r} is not the name of a limit")
        if limit in self._leases:
            raise ConflictError(f"limit {limit!r} exists", self._leases[limit])
        time = wall_microseconds()
        return self._commit(limit, Snapshot(str(time), transitions.begin(state, time)), None, None)

    def replace(self, limit: str, state: LeaseState, expected: str, by: "ClientConnection | None") -> Snapshot:
        """Write a Lease if its version is still `expected`."""
        current = self.read(limit)
        if current.version != expected:
            raise ConflictError(f"limit {limit!r} is at version {current.version}, not {expected}", current)
        return self._commit(limit, Snapshot(str(int(expected) + 1), state), current.state, by)

    def _commit(self, limit: str, snapshot: Snapshot, before: LeaseState | None, by: "ClientConnection | None") -> Snapshot:
        shown = document(snapshot)
        try:
            self._files.save(limit, shown)
        except OSError as error:
            raise StoreUnavailableError(f"the local store cannot write its state: {error}") from error
        self._leases[limit] = snapshot
        if by is not None:
            by.knows(limit, snapshot)
        self._tell(limit, self._concerned(before, snapshot.state), to_line({"limit": limit, **shown}))
        # The others only look on. Waking them all at once would keep the processors from the one who was granted a slot.
        if limit not in self._onlookers:
            self._onlookers[limit] = asyncio.get_running_loop().call_later(ONLOOKER_SECONDS, self._tell_onlookers, limit)
        if snapshot.state.grants > MOST_GRANTS // 2:
            asyncio.get_running_loop().call_soon(self._begin_anew, limit)
        return snapshot

    def _begin_anew(self, limit: str) -> None:
        """Count grants anew, long before they cannot be counted any more; if it cannot be written now, after the next write."""
        lease = self._leases[limit]
        if lease.state.grants > MOST_GRANTS // 2:
            state = transitions.begin(lease.state, wall_microseconds())
            with suppress(StoreUnavailableError):
                self.replace(limit, stamp(lease.state, state, now()), lease.version, None)

    @staticmethod
    def _concerned(before: LeaseState | None, after: LeaseState) -> set[str]:
        """Prefixes of the clients for whom this changes what they may do: holders, and those who do not stand there any more."""
        removed = before.ids - after.ids if before is not None else set()
        return {_prefix(holder.id) for holder in after.holders} | {_prefix(request) for request in removed}

    def _tell(self, limit: str, prefixes: set[str], line: bytes) -> None:
        for connection in self.connections:
            if connection.prefix in prefixes:
                connection.tell(limit, line)

    def _tell_onlookers(self, limit: str) -> None:
        del self._onlookers[limit]
        prefixes = {connection.prefix for connection in self.connections}
        self._tell(limit, prefixes, to_line({"limit": limit, **document(self._leases[limit])}))

    def _reap_absent(self, prefixes: set[str]) -> None:
        """After a restart, reap those whose processes are gone. One that lives but is slow to return may still be using its slots."""
        returned = {connection.prefix for connection in self.connections}
        slow = {prefix for prefix in prefixes - returned if is_alive(prefix)}
        self._reap(prefixes - slow)
        if slow:
            asyncio.get_running_loop().call_later(GRACE_SECONDS, self._reap_absent, slow)

    def _reap(self, prefixes: set[str]) -> None:
        gone = prefixes - {connection.prefix for connection in self.connections}
        for limit, lease in tuple(self._leases.items()):
            ids = {request for request in lease.state.ids if _prefix(request) in gone}
            state = transitions.reap(lease.state, ids)
            if state is not lease.state:
                try:
                    self.replace(limit, stamp(lease.state, state, now()), lease.version, None)
                except StoreUnavailableError:
                    logger.exception("Cannot reap %s", ids)
                    asyncio.get_running_loop().call_later(REAP_RETRY_SECONDS, self._reap, gone)

    def _count_down(self) -> None:
        self._idle_timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self.ended.set)


class ClientConnection(asyncio.Protocol):
    """One client.

    Args:
        server: What it talks to.
    """

    def __init__(self, server: LeaseServer) -> None:
        self.prefix = ""
        self.watched: dict[str, str | None] = {}
        """Limits that it watches, and the version of each that it was told last."""
        self._server = server
        self._reader = LineReader()
        self._transport: asyncio.Transport | None = None
        self._writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  what a stream socket's transport is
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """See asyncio.Protocol."""
        self._transport = None
        if self.prefix:
            self._server.left(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        try:
            for message in self._reader.feed(data):
                self._send(self._answer(message))
        except (GarbageError, KeyError, TypeError, ValueError) as error:
            logger.warning("Closing a connection that does not speak the protocol: %r", error)
            self._close()

    def pause_writing(self) -> None:
        """The client does not read: answer it no more, and tell it only the newest once it does."""
        self._writable = False
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._writable = True
        if self._transport is not None:
            self._transport.resume_reading()
        for limit in self.watched:
            snapshot = self._server.find(limit)
            if snapshot is not None:
                self.tell(limit, to_line({"limit": limit, **document(snapshot)}))

    def knows(self, limit: str, snapshot: Snapshot) -> None:
        """It wrote this state itself."""
        if limit in self.watched:
            self.watched[limit] = snapshot.version

    def tell(self, limit: str, line: bytes) -> None:
        """Report the newest state of a limit, unless it has it or does not read."""
        snapshot = self._server.find(limit)
        if not self._writable or snapshot is None or self.watched.get(limit, snapshot.version) == snapshot.version:
            return
        self.watched[limit] = snapshot.version
        if self._transport is not None:
            self._transport.write(line)

    def _send(self, message: dict[str, Any]) -> None:
        if self._transport is not None:
            self._transport.write(to_line(message))

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        number = message["id"]
        try:
            return {"id": number, "ok": self._do(message)}
        except LeaseError as error:
            answer = {"id": number, "error": type(error).__name__, "message": str(error)}
            if isinstance(error, ConflictError) and error.current is not None:
                answer["current"] = document(error.current)
            return answer

    def _do(self, message: dict[str, Any]) -> dict[str, Any] | None:
        op = message["op"]
        if op == "hello":
            return self._hello(message)
        if not self.prefix:
            raise GarbageError("no hello")
        if op == "limits":
            return {"limits": self._server.limits()}
        return self._do_with(op, message["limit"], message)

    def _do_with(self, op: str, limit: str, message: dict[str, Any]) -> dict[str, Any] | None:
        if not isinstance(limit, str):
            raise GarbageError(f"a limit's name is a string, not {limit!r:.80}")
        if op == "read":
            return document(self._server.read(limit))
        if op == "watch":
            found = self._server.find(limit)
            self.watched[limit] = found.version if found is not None else None
            return document(found) if found is not None else None
        if op == "unwatch":
            self.watched.pop(limit, None)
            return None
        if op == "replace":
            state = decode(message["lease"])
            expected = message["expected"]
            if expected is None:
                return document(self._server.create(limit, state))
            return {"version": self._server.replace(limit, state, expected, self).version}
        raise GarbageError(f"no operation {op!r:.80}")

    def _hello(self, message: dict[str, Any]) -> dict[str, Any]:
        prefix = message["prefix"]
        if message["protocol"] != PROTOCOL:
            raise StoreUnavailableError(
                f"the local store's server speaks protocol {PROTOCOL} and this client {message['protocol']}: end the programs of the other "
                f"version; the server ends {IDLE_SECONDS:g} s after them"
            )
        if not isinstance(prefix, str) or not prefix:
            raise GarbageError("no prefix")
        self.prefix = prefix
        self._server.joined(self)
        return {"protocol": PROTOCOL}


def _prefix(request_id: str) -> str:
    """The part of an id that names its client."""
    return request_id.rpartition("-")[0]

"""A client's connection to the local store's server: found, or made by starting the server, and spoken over."""

import asyncio
import fcntl
import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from nodelease import exceptions
from nodelease.clock import now
from nodelease.codec import decode
from nodelease.exceptions import ConflictError, LeaseError, StoreError, StoreUnavailableError
from nodelease.local.constants import LOG_FILE, SOCKET_FILE, START_LOCK_FILE, START_RETRY_SECONDS, START_SECONDS
from nodelease.local.wire import GarbageError, LineReader, to_line
from nodelease.store import Snapshot

_open: "weakref.WeakSet[ServerConnection]" = weakref.WeakSet()


class ServerConnection(asyncio.Protocol):
    """One connection.

    Args:
        on_report: Told of each report of a watched limit.
        on_lost: Told when the connection is gone.
    """

    def __init__(self, on_report: Callable[[str, Snapshot | None], None], on_lost: Callable[[], None]) -> None:
        self.lost = False
        self._on_report = on_report
        self._on_lost = on_lost
        self._reader = LineReader()
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  what a stream socket's transport is
        self._transport = transport
        _open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """See asyncio.Protocol."""
        self.lost = True
        self._transport = None
        _open.discard(self)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(StoreUnavailableError("the connection to the local store's server broke"))
        self._answers.clear()
        self._on_lost()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        try:
            for message in self._reader.feed(data):
                self._take(message)
        except (GarbageError, LeaseError):
            self.close()

    async def ask(self, op: str, **arguments: object) -> Any:  # noqa: ANN401  JSON has no static type
        """Send a request and wait for its answer.

        Raises:
            StoreUnavailableError: The connection broke; whether the request was done is not known.
            LeaseError: What the server refused it with.
        """
        if self._transport is None:
            raise StoreUnavailableError("the connection to the local store's server broke")
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._transport.write(to_line({"id": number, "op": op, **arguments}))
        try:
            return await answer
        finally:
            self._answers.pop(number, None)

    def post(self, op: str, **arguments: object) -> None:
        """Send a request whose answer does not matter."""
        if self._transport is not None:
            self._transport.write(to_line({"id": next(self._numbers), "op": op, **arguments}))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def close_descriptor(self) -> None:
        """Close the descriptor alone, in a forked child: a child that lived on would keep its dead parent's connection open."""
        if self._transport is not None:
            os.close(self._transport.get_extra_info("socket").fileno())

    def _take(self, message: dict[str, Any]) -> None:
        if "limit" in message:
            self._on_report(message["limit"], to_snapshot(message))
            return
        answer = self._answers.get(message.get("id", 0))
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(_to_error(message))
        else:
            answer.set_result(message["ok"])


def to_snapshot(message: dict[str, Any] | None) -> Snapshot | None:
    """What a report or an answer shows; None without a limit."""
    if message is None or message["version"] is None:
        return None
    return Snapshot(message["version"], decode(message["lease"]))


def _to_error(message: dict[str, Any]) -> LeaseError:
    text = str(message.get("message"))
    kind = getattr(exceptions, str(message["error"]), StoreError)
    if kind is ConflictError:
        return ConflictError(text, to_snapshot(message.get("current")))
    return kind(text) if isinstance(kind, type) and issubclass(kind, LeaseError) else StoreError(text)


def _close_in_child() -> None:
    for connection in tuple(_open):
        connection.close_descriptor()


os.register_at_fork(after_in_child=_close_in_child)


async def connect(directory: Path, make: Callable[[], ServerConnection]) -> ServerConnection:
    """Connect to a directory's server, and start it if there is none.

    Raises:
        StoreUnavailableError: It cannot be started; the message says why.
    """
    deadline = now() + START_SECONDS
    lock = os.open(directory / START_LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while now() < deadline:
            connection = await _connected(directory, make)
            if connection is not None:
                return connection
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # somebody else starts it
                await asyncio.sleep(START_RETRY_SECONDS)
                continue
            connection = await _connected(directory, make)
            if connection is not None:
                return connection
            await asyncio.to_thread(_start, directory)
            fcntl.flock(lock, fcntl.LOCK_UN)
    finally:
        os.close(lock)
    raise StoreUnavailableError(f"the local store's server in {directory} does not answer; see {directory / LOG_FILE}")


async def _connected(directory: Path, make: Callable[[], ServerConnection]) -> ServerConnection | None:
    try:
        _, connection = await asyncio.get_running_loop().create_unix_connection(make, str(directory / SOCKET_FILE))
    except (FileNotFoundError, ConnectionError, BlockingIOError):
        return None
    return connection


def _start(directory: Path) -> None:
    """Start the server; returns when it listens."""
    command = [sys.executable, "-P", "-m", "nodelease.local.server", str(directory)]
    try:
        ended = subprocess.run(  # noqa: S603  our own program
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START_SECONDS, start_new_session=True, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StoreUnavailableError(f"the local store's server cannot be started in {directory}: {error}") from error
    if ended.returncode != 0:
        raise StoreUnavailableError(f"the local store's server cannot be started in {directory}: {ended.stderr.strip()[-500:]}")

"""Messages between the local store's server and its clients: one JSON object a line.

client  {"id": 1, "op": "hello", "protocol", "prefix", "pod"}      first of all; every id of this client begins with prefix
        {"id": 2, "op": "read" | "watch" | "unwatch", "limit"}
        {"id": 3, "op": "replace", "limit", "expected", "lease"}   expected: a version, or null to create
        {"id": 4, "op": "limits"}
server  {"id": 3, "ok": {…}} or {"id": 3, "error": <class>, "message", "current"?}
        {"limit", "version", "lease"}                              to those who watch
"""

import json
from collections.abc import Iterator
from typing import Any

from nodelease.codec import decode, encode
from nodelease.local.constants import LINE_BYTES
from nodelease.store import Snapshot


class GarbageError(Exception):
    """The other side does not speak this protocol."""


def to_line(message: dict[str, Any]) -> bytes:
    """A message as it is sent."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def document(snapshot: Snapshot) -> dict[str, Any]:
    """A Lease as answers, reports and files show it."""
    return {"version": snapshot.version, "lease": encode(snapshot.state)}


def to_snapshot(message: dict[str, Any] | None) -> Snapshot | None:
    """What a report or an answer shows; None without a limit."""
    if message is None or message["version"] is None:
        return None
    return Snapshot(message["version"], decode(message["lease"]))


class LineReader:
    """Cuts a stream into messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The messages that `data` completes.

        Raises:
            GarbageError: A line is too long, or is no JSON object.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES or any(len(line) > LINE_BYTES for line in lines):
            raise GarbageError(f"a message has more than {LINE_BYTES} bytes")
        for line in lines:
            try:
                message = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise GarbageError(f"not JSON: {line[:80]!r}") from error
            if not isinstance(message, dict):
                raise GarbageError(f"not an object: {line[:80]!r}")
            yield message

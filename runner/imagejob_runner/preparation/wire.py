"""Messages between the runner and its workers: a JSON value and bytes behind it.

A decoder may be taken over by a picture made for that, so what a worker sends is data and never more: no pickle, and lengths with bounds.
"""

import json
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

_LENGTHS: Final = struct.Struct("<IQ")
_MOST_JSON: Final = 1 << 26
MOST_BYTES: Final = 1 << 34
"""Most that go with a message, whatever it is."""
_BLOCK: Final = 1 << 18
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))


class WireError(Exception):
    """What came is no message."""


def framed(value: object, payload: Sequence[bytes] = ()) -> list[bytes]:
    """A message as blocks of bytes, to be sent one after the other.

    Args:
        value: What JSON can say.
        payload: Bytes that go with it.
    """
    return [heading(value, sum(map(len, payload))), *payload]


def heading(value: object, size: int) -> bytes:
    """The beginning of a message that `size` bytes follow."""
    head = _ENCODER.encode(value).encode()
    return _LENGTHS.pack(len(head), size) + head


class Receiver:
    """Takes messages out of what comes through a socket.

    Args:
        connection: The socket; blocking or not, it is never waited for.
        most: Most bytes that go with a message.
    """

    def __init__(self, connection: socket.socket, most: int = MOST_BYTES) -> None:
        self._socket, self._most = connection, most
        self._buffer = bytearray()
        self._value: Any = None
        self._payload: bytearray | None = None
        self._filled = 0
        self.ended = False
        """Whether the other side is gone."""

    def messages(self) -> Iterator[tuple[Any, bytes | bytearray]]:
        """What has come by now and is whole: values with their bytes.

        Raises:
            WireError: It is no message.
        """
        while self._receive():
            if self._payload is not None and self._filled == len(self._payload):
                value, payload = self._value, self._payload
                self._value = self._payload = None
                yield value, payload
            yield from self._whole()

    def _receive(self) -> bool:
        try:
            if self._payload is None:
                block = self._socket.recv(_BLOCK, socket.MSG_DONTWAIT)
                self._buffer += block
                count = len(block)
            else:
                with memoryview(self._payload) as rest:
                    count = self._socket.recv_into(rest[self._filled :], 0, socket.MSG_DONTWAIT)
                self._filled += count
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            count = 0
        self.ended = not count
        return bool(count)

    def _whole(self) -> Iterator[tuple[Any, bytes]]:
        """Messages in the buffer. Of one whose bytes have not all come the rest is received where it stays."""
        buffer, start = self._buffer, 0
        while len(buffer) - start >= _LENGTHS.size:
            head, tail = _LENGTHS.unpack_from(buffer, start)
            if head > _MOST_JSON or tail > self._most:
                raise WireError(f"a message of {head} and {tail} bytes")
            middle = start + _LENGTHS.size + head
            if len(buffer) < middle:
                break
            try:
                value = json.loads(buffer[start + _LENGTHS.size : middle])
            except (ValueError, RecursionError) as error:
                raise WireError("not JSON") from error
            start = middle + tail
            if len(buffer) < start:
                self._begin(value, buffer[middle:], tail)
                break
            yield value, bytes(memoryview(buffer)[middle:start])
        del buffer[:start]

    def _begin(self, value: object, first: bytearray, size: int) -> None:
        try:
            payload = bytearray(size)
        except MemoryError as error:
            raise WireError(f"a message of {size} bytes") from error
        payload[: len(first)] = first
        self._value, self._payload, self._filled = value, payload, len(first)

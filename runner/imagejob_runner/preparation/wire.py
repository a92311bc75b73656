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
_MOST_BYTES: Final = 1 << 34
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
    head = _ENCODER.encode(value).encode()
    return [_LENGTHS.pack(len(head), sum(map(len, payload))) + head, *payload]


class Receiver:
    """Takes messages out of what comes through a socket.

    Args:
        connection: The socket; blocking or not, it is never waited for.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = bytearray()
        self.ended = False
        """Whether the other side is gone."""

    def messages(self) -> Iterator[tuple[Any, bytes]]:
        """What has come by now and is whole: values with their bytes.

        Raises:
            WireError: It is no message.
        """
        while self._receive():
            yield from self._whole()

    def _receive(self) -> bool:
        try:
            block = self._socket.recv(_BLOCK, socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            block = b""
        if not block:
            self.ended = True
            return False
        self._buffer += block
        return True

    def _whole(self) -> Iterator[tuple[Any, bytes]]:
        buffer, start = self._buffer, 0
        while len(buffer) - start >= _LENGTHS.size:
            head, tail = _LENGTHS.unpack_from(buffer, start)
            if head > _MOST_JSON or tail > _MOST_BYTES:
                raise WireError(f"a message of {head} and {tail} bytes")
            middle = start + _LENGTHS.size + head
            if len(buffer) < middle + tail:
                break
            try:
                value = json.loads(buffer[start + _LENGTHS.size : middle])
            except (ValueError, RecursionError) as error:
                raise WireError("not JSON") from error
            yield value, bytes(memoryview(buffer)[middle : middle + tail])
            start = middle + tail
        del buffer[:start]

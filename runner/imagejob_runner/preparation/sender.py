"""What a worker sends: results in parts, so that neither each is a message of its own nor one that is slow holds others back."""

import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Final

from PIL import Image

from imagejob_runner.preparation.recipe import BANDS
from imagejob_runner.preparation.wire import heading

PART: Final = 32
"""Results that are worth a message."""
BAND_BYTES: Final = 1 << 20
"""Bytes of pictures that are worth a message, and what is made of a larger one at a time."""
PATIENCE_SECONDS: Final = 0.05
"""How long a result may wait for others."""
ENDING_SECONDS: Final = 1.0
"""How long the process may take to end itself when the runner is gone."""


class Sender:
    """The sending side of a worker. Waits when the runner takes nothing.

    Args:
        connection: A blocking socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._results: list[list[object]] = []
        self._pictures: list[Image.Image] = []
        self._bytes = 0
        self._oldest = 0.0
        self.ended = False
        """Whether the runner is gone."""
        self._lock = threading.Lock()
        self._some = threading.Event()
        # A decoding that takes long does not hold the interpreter, so a thread can send what is done meanwhile.
        threading.Thread(target=self._look_after, name="sender", daemon=True).start()
        threading.Thread(target=_end_with, args=(connection,), name="runner gone", daemon=True).start()

    def add(self, result: list[object], picture: Image.Image | None) -> None:
        """A result and its picture, which go out with others, soon."""
        with self._lock:
            if not self._results:
                self._oldest = time.monotonic()
                self._some.set()
            self._results.append(result)
            if picture is not None:
                self._pictures.append(picture)
                self._bytes += picture_bytes(picture)
            if len(self._results) >= PART or self._bytes >= BAND_BYTES:
                self._flush()

    def flush(self) -> None:
        """Sends what there is."""
        with self._lock:
            self._flush()

    def send(self, *value: object) -> None:
        """A message of its own, behind all results so far."""
        with self._lock:
            self._flush()
            self._send(value, [], 0)

    def _flush(self) -> None:
        if self._results:
            results, self._results = self._results, []
            pictures, self._pictures = self._pictures, []
            size, self._bytes = self._bytes, 0
            self._send(("done", time.process_time(), results), pictures, size)

    def _send(self, value: object, pictures: list[Image.Image], size: int) -> None:
        try:
            self._socket.sendall(heading(value, size))
            for picture in pictures:
                for block in _blocks(picture):
                    self._socket.sendall(block)
        except OSError:
            self.ended = True

    def _look_after(self) -> None:
        while not self.ended:
            self._some.wait()
            time.sleep(PATIENCE_SECONDS)
            with self._lock:
                if self._results and time.monotonic() - self._oldest >= PATIENCE_SECONDS:
                    self._flush()
                if not self._results:
                    self._some.clear()


def _end_with(connection: socket.socket) -> None:
    """Ends this process when the other side is gone and it does not end itself: a decoding or a file system may hold it for ever."""
    poll = select.poll()
    poll.register(connection, 0)  # that it hung up is always told
    poll.poll()
    time.sleep(ENDING_SECONDS)
    os._exit(1)


def picture_bytes(picture: Image.Image) -> int:
    """How many bytes an RGB picture is sent as: its pixels, and its colour profile behind them."""
    return BANDS * picture.width * picture.height + len(picture.info.get("icc_profile", b""))


def _blocks(picture: Image.Image) -> Iterator[bytes]:
    # A large picture is not there twice, as pixels and as bytes.
    rows = max(1, BAND_BYTES // (BANDS * picture.width))
    if rows >= picture.height:
        yield picture.tobytes()
    else:
        for top in range(0, picture.height, rows):
            yield picture.crop((0, top, picture.width, min(picture.height, top + rows))).tobytes()
    yield picture.info.get("icc_profile", b"")

"""What a worker sends: results in parts, so that neither each is a message of its own nor one that is slow holds others back."""

import socket
import threading
import time
from typing import Final

from imagejob_runner.preparation.wire import framed

PART: Final = 32
"""Results that are worth a message."""
PATIENCE_SECONDS: Final = 0.05
"""How long a result may wait for others."""


class Sender:
    """The sending side of a worker. Waits when the runner takes nothing.

    Args:
        connection: A blocking socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._results: list[list[object]] = []
        self._payload: list[bytes] = []
        self._oldest = 0.0
        self.ended = False
        """Whether the runner is gone."""
        self._lock = threading.Lock()
        self._some = threading.Event()
        # A decoding that takes long does not hold the interpreter, so a thread can send what is done meanwhile.
        threading.Thread(target=self._look_after, name="sender", daemon=True).start()

    def add(self, result: list[object], payload: bytes) -> None:
        """A result, which goes out with others, soon."""
        with self._lock:
            if not self._results:
                self._oldest = time.monotonic()
                self._some.set()
            self._results.append(result)
            if payload:
                self._payload.append(payload)
            if len(self._results) >= PART:
                self._flush()

    def flush(self) -> None:
        """Sends what there is."""
        with self._lock:
            self._flush()

    def send(self, *value: object) -> None:
        """A message of its own, behind all results so far."""
        with self._lock:
            self._flush()
            self._send(value, [])

    def _flush(self) -> None:
        if self._results:
            results, self._results = self._results, []
            payload, self._payload = self._payload, []
            self._send(("done", time.process_time(), results), payload)

    def _send(self, value: object, payload: list[bytes]) -> None:
        try:
            for block in framed(value, payload):
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

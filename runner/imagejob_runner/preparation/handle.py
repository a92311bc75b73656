"""A worker as the runner sees it: its process, its socket, and what it has on board. Nothing here waits."""

import asyncio
import os
import signal
import socket
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from imagejob_api.redaction import redacted
from imagejob_runner.preparation.entry import Entry
from imagejob_runner.preparation.processes import Started
from imagejob_runner.preparation.recipe import UNIT
from imagejob_runner.preparation.wire import Receiver, WireError, framed

_UNITS: Final = 2
"""One to work on, one that waits so that there is no gap."""
_LEAST_AHEAD: Final = 8
"""Images that a worker has at least which fetches several at once."""

OnMessage = Callable[["WorkerHandle", Any, bytes | bytearray], None]
OnExit = Callable[["WorkerHandle", int | None], None]
"""Also told is the exit status, or minus the signal; None if nobody knows."""


class WorkerHandle:
    """One worker.

    Args:
        index: Its entry on the board.
        started: Its process.
        connection: Our end of the socket; not blocking.
        suspects: Images that it is to do first, each alone.
        most: Most bytes that go with a message of it.
        on_message: Called with what it sends.
        on_exit: Called when it has ended.
    """

    def __init__(
        self,
        index: int,
        started: Started,
        connection: socket.socket,
        suspects: Sequence[Entry],
        *,
        most: int,
        on_message: OnMessage,
        on_exit: OnExit,
    ) -> None:
        self.index, self._started, self._socket = index, started, connection
        self.suspects = deque(suspects)
        """Images that are to be done first, each alone."""
        self._alone: Entry | None = None
        self.board: dict[int, Entry] = {}
        """Images on board, by number."""
        self.seconds = 0.0
        """CPU time that it has told of."""
        self.ready = False
        """Whether it has said that it is there."""
        self.heard = time.monotonic()
        """When it last said something, or was told something, on the monotonic clock."""
        self.overdue = False
        """Whether it was killed because it did not move."""
        self.senseless = False
        """Whether it was killed because what it sent made no sense."""
        self.ended = asyncio.Event()
        self._gone = False
        self._units: Counter[int] = Counter()
        self._unit = 0
        self._receiver = Receiver(connection, most)
        self._out: deque[memoryview] = deque()
        self._waits = False
        self._on_message, self._on_exit = on_message, on_exit
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(connection, self._readable)
        self._loop.add_reader(started.status, self._exited)

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._started.pid

    @property
    def load(self) -> int:
        """Images that it has still to do, those aside left out."""
        return self._units.total()

    @property
    def busy(self) -> int:
        """Images that it can be at; 0 while one waits for room, as others may wait for that one."""
        entries = self.board.values()
        return 0 if any(entry.over is not None and not entry.granted for entry in entries) else len(entries)

    def room(self, at_once: int) -> int:
        """Images that it should be given now.

        Args:
            at_once: How many it fetches at once over a network; 0 if it does one after the other.
        """
        if self.suspects or self.tests:
            return 0
        if at_once:
            return max(0, max(2 * at_once, _LEAST_AHEAD) - self.load)
        return UNIT if len(self._units) < _UNITS else 0

    @property
    def tests(self) -> bool:
        """Whether it is at an image that must be alone."""
        return self._alone is not None and self._alone.unit >= 0

    @property
    def suspect(self) -> Entry | None:
        """The image that it got alone, if that has not ended."""
        return self._alone if self._alone is not None and self._alone.request.number in self.board else None

    def test_next(self) -> None:
        """Sends the next suspect, if it is time for it."""
        if self.suspects and not self._units:
            self._alone = self.suspects.popleft()
            self.hand_out([self._alone])

    def hand_out(self, entries: Sequence[Entry]) -> None:
        """Sends a unit."""
        self._unit += 1
        payload, rows = [], []
        for entry in entries:
            request = entry.request
            entry.unit = self._unit
            self.board[request.number] = entry
            size = None if request.data is None else len(request.data)
            rows.append((request.number, entry.order, entry.slot, entry.used, request.url, size))
            if request.data:
                payload.append(request.data)
        self._units[self._unit] = len(entries)
        self.send(("unit", rows), payload)

    def set_aside(self, entry: Entry) -> None:
        """An image waits, and others go on meanwhile."""
        if entry.unit >= 0:
            self._units[entry.unit] -= 1
            if not self._units[entry.unit]:
                del self._units[entry.unit]
            entry.unit = -1

    def take_off(self, number: int) -> Entry | None:
        """An image has ended; None if it was never on board."""
        entry = self.board.pop(number, None)
        if entry is not None:
            self.set_aside(entry)
        return entry

    def send(self, value: object, payload: Sequence[bytes] = ()) -> None:
        """Sends now what can be sent at once, and the rest as soon as it can."""
        self.heard = time.monotonic()
        waiting = bool(self._out)
        self._out += map(memoryview, framed(value, payload))
        if not waiting:
            self._write()

    def kill(self) -> None:
        """Ends the process, whatever it is at, unless it has ended. `on_exit` is called soon."""
        if self._gone:  # its number may be another's by now
            return
        try:
            os.kill(self._started.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def close(self) -> None:
        """Closes our end of the socket, at which the process ends itself."""
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        self._out.clear()

    def _write(self) -> None:
        out = self._out
        while out:
            try:
                sent = self._socket.send(out[0])
            except (BlockingIOError, InterruptedError):
                if not self._waits:
                    self._waits = True
                    self._loop.add_writer(self._socket, self._write)
                return
            except OSError:  # it has ended, which is told elsewhere
                out.clear()
                break
            if sent == len(out[0]):
                out.popleft()
            else:
                out[0] = out[0][sent:]
        if self._waits:
            self._waits = False
            self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        try:
            for value, payload in self._receiver.messages():
                self.heard = time.monotonic()
                self._on_message(self, value, payload)
        except Exception as error:  # noqa: BLE001  otherwise the loop would go on, and what it has on board would never end
            # Whatever makes it send that, nothing it says can be believed any more.
            if not isinstance(error, WireError):
                sys.stderr.write(redacted(traceback.format_exc()))
            self.senseless = True
            self._loop.remove_reader(self._socket)
            self.kill()
            return
        if self._receiver.ended:
            self._loop.remove_reader(self._socket)

    def give_up(self) -> None:
        """It was killed, and does not end: something in the kernel holds it. Nobody waits for it any longer."""
        if not self.ended.is_set():
            self._loop.remove_reader(self._started.status)
            os.close(self._started.status)
            self._end(None)

    def _exited(self) -> None:
        self._loop.remove_reader(self._started.status)
        status = self._started.exit_status()
        if status is None:  # the server is gone, and the process may not be
            self.kill()
        self._end(status)

    def _end(self, status: int | None) -> None:
        self._gone = True
        if self._socket.fileno() >= 0:
            if not self.senseless:
                self._readable()
            self.close()
        self.ended.set()
        self._on_exit(self, status)

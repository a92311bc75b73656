"""A program whose output is read line by line while it runs."""

import queue
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO

from tests.tools.plugin import Done


class Following:
    """A running program.

    Args:
        command: Program and arguments.
        env: Its environment.
        seconds: How long to wait for a line, and for the end.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], seconds: float = 60.0) -> None:
        self._seconds = seconds
        self._process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._said: dict[str, list[str]] = {"out": [], "err": []}
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("out", self._process.stdout), ("err", self._process.stderr))
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()

    def line_with(self, text: str) -> str:
        """Waits for a line that holds `text`, skipping others."""
        deadline = time.monotonic() + self._seconds
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"no line with {text!r}; it said {self._said}")
            if text in line:
                return line

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> None:
        """As Ctrl-C does."""
        self._process.send_signal(number)

    def end(self) -> Done:
        """Waits for the end."""
        code = self._process.wait(self._seconds)
        for reader in self._readers:
            reader.join(self._seconds)
        return Done(code, "".join(self._said["out"]), "".join(self._said["err"]))

    def kill(self) -> None:
        """Ends it whatever it does."""
        self._process.kill()
        self.end()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _read(self, name: str, stream: IO[str]) -> None:
        for line in stream:
            self._said[name].append(line)
            self._lines.put(line)
        if name == "out":
            self._lines.put(None)

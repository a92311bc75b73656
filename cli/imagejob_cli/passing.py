"""The signals that `imagejob lease exec` gets: they end its wait, or go on to the command."""

import asyncio
import os
import signal
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

ENDING: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
PASSED: Final = (*ENDING, signal.SIGUSR1, signal.SIGUSR2)
_FROM_KEYBOARD: Final = (signal.SIGINT, signal.SIGQUIT)


class PassedSignals:
    """Handles signals in the running event loop; a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._process: asyncio.subprocess.Process | None = None
        self.ending: asyncio.Future[int] = self._loop.create_future()
        """Number of the first signal that ends a program, if it came before there was a command."""

    def __enter__(self) -> Self:
        """Takes the signals over."""
        for number in PASSED:
            self._loop.add_signal_handler(number, self._on_signal, number)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Gives the signals back."""
        for number in PASSED:
            self._loop.remove_signal_handler(number)

    def pass_to(self, process: asyncio.subprocess.Process) -> None:
        """From now on signals go to this process; one that came while it started, too."""
        self._process = process
        if self.ending.done():
            self._send(signal.Signals(self.ending.result()))

    def _on_signal(self, number: signal.Signals) -> None:
        if self._process is None:
            if number in ENDING and not self.ending.done():
                self.ending.set_result(number)
        elif number not in _FROM_KEYBOARD or not in_foreground():
            # The terminal sends Ctrl-C to the command as well; twice would mean "at once" to many programs.
            self._send(number)

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):  # it has just ended
                self._process.send_signal(number)


def in_foreground() -> bool:
    """Whether this process stands in the foreground of its terminal, where the keyboard's signals reach its children by themselves."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)

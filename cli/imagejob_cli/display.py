"""What a person sees while a job runs: a live display on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live

from imagejob_cli.view import RunView, details
from imagejob_cli.wording import printable
from imagejob_runner.local.figures import RunProgress

LINE_SECONDS = 5.0
"""Plain lines come at most this often."""


class Display(Protocol):
    """Shows a run; a context manager around it."""

    latest: RunProgress | None
    """The last moment shown."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def update(self, progress: RunProgress) -> None:
        """Shows a moment."""

    def note(self, text: str) -> None:
        """Says something before the next moment. May be called from a signal handler: it prints nothing itself."""


def display_for(console: Console, name: str) -> Display:
    """The display that fits where `console` prints."""
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveDisplay(console, name)
    return PlainDisplay(console, name)


class LiveDisplay:
    """A bar and figures that are drawn anew in place, and vanish at the end: the summary says it all again.

    Args:
        console: A terminal.
        name: Of the job.
    """

    def __init__(self, console: Console, name: str) -> None:
        self.latest: RunProgress | None = None
        self._console, self._name = console, name
        self._notes: list[str] = []
        # Drawn when there is news only: a refresh thread would compete with the processes for CPUs.
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        """Begins to draw."""
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Clears what was drawn."""
        self._live.stop()
        self._print_notes()

    def update(self, progress: RunProgress) -> None:
        """Draws a moment."""
        self.latest = progress
        self._print_notes()
        self._live.update(RunView(self._name, progress), refresh=True)

    def note(self, text: str) -> None:
        """Has a line printed above the drawing."""
        self._notes.append(text)

    def _print_notes(self) -> None:
        while self._notes:
            self._console.print(self._notes.pop(0))


class PlainDisplay:
    """A line now and then, for logs: at most one in `LINE_SECONDS`, and only if something has changed.

    Args:
        console: Where to.
        name: Of the job.
        clock: Seconds.
    """

    def __init__(self, console: Console, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.latest: RunProgress | None = None
        self._console, self._name, self._clock = console, printable(name), clock
        self._notes: list[str] = []
        self._shown: tuple[object, ...] | None = None
        self._next = 0.0

    def __enter__(self) -> Self:
        """Does nothing."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Prints what was still to be said."""
        self._print_notes()

    def update(self, progress: RunProgress) -> None:
        """Prints a line if it is time and there is news. Another phase and a restart are printed at once."""
        self.latest = progress
        self._print_notes()
        urgent = (progress.phase, progress.restarts)
        news = (*urgent, progress.done, progress.errors, tuple(progress.limits.items()))
        moment = self._clock()
        if news == self._shown or (moment < self._next and self._shown is not None and self._shown[:2] == urgent):
            return
        self._shown, self._next = news, moment + LINE_SECONDS
        self._print(self._line(progress))

    def note(self, text: str) -> None:
        """Has a line printed."""
        self._notes.append(text)

    def _line(self, progress: RunProgress) -> str:
        words = {"state": "", "failed": "failed ", "slots": "", "per image": "per image ", "busy": "busy: ", "bottleneck": ""}
        figures = "; ".join(words[label] + text for label, text in details(progress))
        return f"{self._name}: {progress.done:,}/{progress.total:,}, {figures}" if progress.total else f"{self._name}: {figures}"

    def _print_notes(self) -> None:
        while self._notes:
            self._print(self._notes.pop(0))

    def _print(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)

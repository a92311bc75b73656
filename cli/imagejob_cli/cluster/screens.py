"""How jobs are shown while they are followed: drawn in place on a terminal, as lines in a log, as JSON for programs."""

import json
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console
from rich.live import Live

from imagejob_cli.cluster import words
from imagejob_cli.cluster.as_json import snapshot_object
from imagejob_cli.cluster.board import Snapshot
from imagejob_cli.cluster.job import JobView
from imagejob_cli.cluster.view import NO_JOBS, SnapshotView, job_lines, job_title, slots_lines

_LINE_SECONDS: Final = 5.0
"""Of one job lines with new figures alone come at most this often."""
_TICK_SECONDS: Final = 1.0


class Screen(Protocol):
    """Shows jobs; a context manager around it."""

    tick: float | None
    """Seconds after which it wants to draw again though nothing has changed, since it shows clocks."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def draw(self, snapshot: Snapshot) -> None:
        """Shows a moment."""

    def note(self, text: str) -> None:
        """Says something along the way."""


class LiveScreen:
    """Drawn anew in place.

    Args:
        console: A terminal.
        full_names: Whether the jobs' namespaces are shown.
    """

    tick: float | None = _TICK_SECONDS

    def __init__(self, console: Console, *, full_names: bool) -> None:
        self._full_names = full_names
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        """Begins to draw."""
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leaves the last drawing where it is."""
        self._live.stop()

    def draw(self, snapshot: Snapshot) -> None:
        """Draws a moment."""
        self._live.update(SnapshotView(snapshot, full_names=self._full_names), refresh=True)

    def note(self, text: str) -> None:
        """Prints a line above the drawing."""
        self._live.console.print(text, soft_wrap=True)


class PlainScreen:
    """A line for each job when there is news of it. Another phase and another reason are printed at once.

    Args:
        console: Where to.
        full_names: Whether the jobs' namespaces are shown.
        clock: Seconds.
    """

    tick: float | None = None

    def __init__(self, console: Console, *, full_names: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._full_names, self._clock = console, full_names, clock
        self._shown: dict[str, tuple[object, ...]] = {}
        self._next: dict[str, float] = {}
        self._said: set[str] = set()

    def __enter__(self) -> Self:
        """Does nothing."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Does nothing."""

    def draw(self, snapshot: Snapshot) -> None:
        """Prints what is new."""
        for job in snapshot.jobs:
            if self._is_news(job, snapshot):
                self._print(plain_line(job, snapshot, full_names=self._full_names))
        if not snapshot.jobs:
            self._print_once(NO_JOBS)
        if snapshot.slots_note:
            self._print_once(f"slots: {snapshot.slots_note}")

    def note(self, text: str) -> None:
        """Prints it."""
        self._print(text)

    def _is_news(self, job: JobView, snapshot: Snapshot) -> bool:
        urgent = (job.phase, tuple(words.hindrances(job)), job.name in snapshot.missing)
        news = (*urgent, job.done, job.total, job.failed, job.pods, job.waiting)
        before, moment = self._shown.get(job.full_name), self._clock()
        if news == before or (before is not None and before[: len(urgent)] == urgent and moment < self._next[job.full_name]):
            return False
        self._shown[job.full_name], self._next[job.full_name] = news, moment + _LINE_SECONDS
        return True

    def _print_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._print(line)

    def _print(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)


class JsonScreen:
    """One line of JSON for each change, on standard output; what is said along the way goes elsewhere.

    Args:
        messages: Where notes go.
    """

    tick: float | None = None

    def __init__(self, messages: Console) -> None:
        self._messages = messages
        self._last = ""
        self._slots_note = ""

    def __enter__(self) -> Self:
        """Does nothing."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Does nothing."""

    def draw(self, snapshot: Snapshot) -> None:
        """Prints it if it differs from what was printed last; why the slots are not all there is goes elsewhere, once."""
        if snapshot.slots_note != self._slots_note:
            self._slots_note = snapshot.slots_note
            self.note(f"note: {snapshot.slots_note}")
        line = json.dumps(snapshot_object(snapshot))
        if line != self._last:
            print(line, flush=True)
        self._last = line

    def note(self, text: str) -> None:
        """Prints it elsewhere."""
        self._messages.print(text, soft_wrap=True)


def screen_for(console: Console, messages: Console, *, full_names: bool, as_json: bool) -> Screen:
    """The screen that fits where `console` prints."""
    if as_json:
        return JsonScreen(messages)
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveScreen(console, full_names=full_names)
    return PlainScreen(console, full_names=full_names)


def print_snapshot(console: Console, snapshot: Snapshot, *, full_names: bool) -> None:
    """Shows a moment once: as on a screen, without the screen."""
    if console.is_terminal and not console.is_dumb_terminal:
        console.print(SnapshotView(snapshot, full_names=full_names))
        return
    for job in snapshot.jobs:
        console.print(plain_line(job, snapshot, full_names=full_names), soft_wrap=True)
    if not snapshot.jobs:
        console.print(NO_JOBS)
    for title, text in slots_lines(snapshot):
        console.print(f"{title}: {text}" if title else text, soft_wrap=True)


def plain_line(job: JobView, snapshot: Snapshot, *, full_names: bool) -> str:
    """A job on one line."""
    told = "; ".join(f"failed {text}" if label == "failed" else text for label, text in job_lines(job, snapshot))
    done = words.progress(job)
    return f"{job_title(job, full_names=full_names)}: {f'{done}, ' if done else ''}{told}"

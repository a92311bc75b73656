"""What Ctrl-C and SIGTERM do to a run: first it ends in order, the second time at once."""

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Protocol, Self

_ORDERLY = 1
_AT_ONCE = 2
_ENDING = "Ending: batches at work are finished and what is whole is committed. Press Ctrl-C again to end at once."
_KILLED = "Ending at once: what is committed stays."


class Stoppable(Protocol):
    """What is needed of `imagejob_runner.local.supervisor.LocalRun`."""

    def interrupt(self) -> None:
        """Ends the run in order."""

    def kill(self) -> None:
        """Ends it at once."""


class Interruption:
    """Handles SIGINT and SIGTERM while a run goes on.

    Args:
        run: The run.
        planning: Tells whether it has not begun with images yet. Then there is nothing to end in order, and KeyboardInterrupt is raised.
        note: Says something to the user.
    """

    def __init__(self, run: Stoppable, planning: Callable[[], bool], note: Callable[[str], None]) -> None:
        self._run, self._planning, self._note = run, planning, note
        self._before: dict[int, Any] = {}
        self._count = 0

    def __enter__(self) -> Self:
        """Takes the signals over."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Gives the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._planning() or self._count > _AT_ONCE:
            raise KeyboardInterrupt
        if self._count == _ORDERLY:
            self._note(_ENDING)
            self._run.interrupt()
        else:
            self._note(_KILLED)
            self._run.kill()

"""How often the status of an ImageJob is written, whatever its pods say.

A pod is a user's code, and what it says may change with every word. A turn in a job's life is told at once, but of many in a short time
only the first ones; from then on they are told at the pace of numbers.
"""

from dataclasses import dataclass
from typing import Final

from imagejob_operator.imagejobs.status import only_numbers
from imagejob_operator.manifest import Json

AT_ONCE: Final = 4
"""Turns that may follow each other without a pause; one more for each pause that passes."""
_ALWAYS_AT_ONCE: Final = ("observedGeneration", "startTime", "completionTime")
"""A user has changed the spec; or it happens once."""


@dataclass(slots=True)
class StatusPace:
    """When the status of one ImageJob may be written next."""

    _written_at: float | None = None
    _left: float = AT_ONCE

    def wait_seconds(self, before: Json, after: Json, now: float, pause: float) -> float:
        """Time until a change may be written; 0: at once.

        Args:
            before: The status as it is.
            after: The status as it is to be.
            now: A clock that passes.
            pause: Least seconds between two writes of numbers.
        """
        if self._written_at is None or any(before.get(name) != after.get(name) for name in _ALWAYS_AT_ONCE):
            return 0.0
        if not only_numbers(before, after) and self._turns(now, pause) >= 1:
            return 0.0
        return max(0.0, self._written_at + pause - now)

    def wrote(self, before: Json, after: Json, now: float, pause: float) -> None:
        """The change has been written."""
        spent = 0 if only_numbers(before, after) else 1
        self._left = max(0.0, self._turns(now, pause) - spent)
        self._written_at = now

    def _turns(self, now: float, pause: float) -> float:
        passed = (now - self._written_at) / pause if self._written_at is not None else 0.0
        return min(AT_ONCE, self._left + passed)

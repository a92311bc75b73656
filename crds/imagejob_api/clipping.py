"""What a job asks of its limits beyond what these allow.

It is cut where it counts, in the Lease, by every client and in a cluster by the admission policy, and follows a change of the limit at
once. Here it is only told.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from imagejob_api.base import duration_seconds
from imagejob_api.pipeline import Step


class Allowance(Protocol):
    """What a limit allows: a `NodeLimitSpec`, or what is known of one."""

    @property
    def max_hold(self) -> str:
        """Longest hold, as a duration."""

    @property
    def max_priority(self) -> int:
        """Highest priority."""


def clipped(steps: Sequence[Step], priority: int, limits: Callable[[str], Allowance | None]) -> list[str]:
    """What of a job is cut, in words.

    Args:
        steps: Of its pipeline.
        priority: Of the job.
        limits: What a limit allows, by its name; None: there is none, or none that is known.
    """
    return [*dict.fromkeys(_clipped(steps, priority, limits))]


def _clipped(steps: Sequence[Step], priority: int, limits: Callable[[str], Allowance | None]) -> Iterator[str]:
    for step in steps:
        for taken in step.limits:
            limit = limits(taken.name)
            if limit is None:
                continue
            if taken.hold_seconds > duration_seconds(limit.max_hold):
                yield f"Step {step.name} asks to hold {taken.name} for {taken.hold}, and gets {limit.max_hold}: maxHold of the NodeLimit."
            if priority > limit.max_priority:
                yield f"Priority {priority} counts as {limit.max_priority} in the queues of {taken.name}: maxPriority of the NodeLimit."

"""What a job says of itself has to be said soon after `kubectl apply`."""

import time
from collections.abc import Callable
from typing import Any, Final

from imagejob_api.reasons import ConditionType
from tests.e2e.team import Team
from tests.e2e.waiting import eventually

Measured = Callable[[str], None]

BOUND_SECONDS: Final = 15.0
"""From `kubectl apply` to the condition."""


def told(team: Team, job: dict[str, Any], kind: ConditionType, reason: str, measured: Measured) -> dict[str, Any]:
    """The condition of that type, once it is true for that reason; fails if it took longer than it may."""
    name = job["metadata"]["name"]

    def found() -> tuple[object, object]:
        condition = team.condition(name, kind)
        return condition.get("status"), condition.get("reason")

    applied = time.monotonic()
    team.apply(job)
    eventually(found, ("True", reason), seconds=4 * BOUND_SECONDS)
    seconds = time.monotonic() - applied
    measured(f"{name}: {kind} {reason} after {seconds:.1f} s")
    assert seconds < BOUND_SECONDS
    return team.condition(name, kind)

"""What a job says of itself has to be said soon after `kubectl apply`."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from imagejob_api.reasons import ConditionType
from tests.e2e.team import Team
from tests.e2e.waiting import eventually

Measured = Callable[[str], None]

BOUND_SECONDS: Final = 15.0
"""From `kubectl apply` to the condition."""
_TIMES_A_POD: Final = 3.0
"""A condition may take so many times as long as a pod that does nothing but load torch, where that is slow: others use the machine."""


@dataclass(frozen=True)
class Case:
    """A job, and the condition that is to become true of it."""

    job: Mapping[str, Any]
    kind: ConditionType
    reason: str

    @property
    def name(self) -> str:
        """The job's name."""
        return str(self.job["metadata"]["name"])


def told(team: Team, job: dict[str, Any], kind: ConditionType, reason: str, measured: Measured) -> dict[str, Any]:
    """The condition of that type, once it is true for that reason; fails if it took longer than it may."""
    case = Case(job, kind, reason)
    return all_told(team, [case], measured)[case.name]


def all_told(team: Team, cases: Sequence[Case], measured: Measured) -> dict[str, dict[str, Any]]:
    """The conditions of jobs that are applied at the same moment, by the jobs' names; each as `told`."""
    found: dict[str, dict[str, Any]] = {}
    seconds: dict[str, float] = {}

    def missing() -> dict[str, object]:
        jobs = json.loads(team.kubectl("get", "imagejobs", "--output=json"))["items"]
        now = {job["metadata"]["name"]: job.get("status", {}).get("conditions", []) for job in jobs}
        for case in cases:
            conditions = {condition["type"]: condition for condition in now[case.name]}
            condition = conditions.get(case.kind, {})
            if case.name not in found and (condition.get("status"), condition.get("reason")) == ("True", case.reason):
                found[case.name], seconds[case.name] = condition, time.monotonic() - applied
        return {case.name: now[case.name] for case in cases if case.name not in found}

    applied = time.monotonic()
    team.apply(*(case.job for case in cases))
    eventually(missing, {}, seconds=4 * BOUND_SECONDS)
    for case in cases:
        measured(f"{case.name}: {case.kind} {case.reason} after {seconds[case.name]:.1f} s")
    if max(seconds.values()) >= BOUND_SECONDS:
        pod = team.servers.pod_seconds()
        measured(f"a pod that only loads torch takes {pod:.1f} s meanwhile")
        assert max(seconds.values()) < _TIMES_A_POD * pod
    return found

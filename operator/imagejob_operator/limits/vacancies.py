"""When a Lease may be made where one was before, and where its fences begin.

A Lease that is gone says no more who held a slot. Those who see that it is gone stop at once. One who is cut off does not see it, and goes
on until two thirds of the lease duration after its last renewal. So nobody may be granted anything before a whole duration has passed
since: the new Lease is not made earlier. Nothing is waited for where nobody can hold anything.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from imagejob_operator.limits.facts import Goal, Pair
from imagejob_operator.limits.plan import Beginning
from imagejob_operator.limits.pods import PodPresence
from imagejob_operator.limits.records import LeaseRecord
from imagejob_operator.limits.repair import highest_fence, patience_seconds
from nodelease.clock import wall_microseconds

_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class _Vacancy:
    until: float
    """Somebody may use a slot of the Lease that is gone until then."""
    fence: int
    """Its highest."""


class Vacancies:
    """Remembers which Leases are gone.

    Args:
        pods: Who may hold a slot of a Lease that was never seen.
        clock: Seconds that pass.
    """

    def __init__(self, pods: PodPresence, clock: Callable[[], float]) -> None:
        self._pods = pods
        self._clock = clock
        self._since: float | None = None
        self._vacancies: dict[Pair, _Vacancy] = {}

    def begin(self) -> None:
        """All Leases there are have been seen by now. How long others had been gone is not known."""
        if self._since is None:
            self._since = self._clock()

    def note(self, record: LeaseRecord, goal: Goal | None) -> None:
        """A Lease that was like this is gone."""
        now = self._clock()
        if len(self._vacancies) >= _REMEMBERED:
            self._vacancies = {pair: vacancy for pair, vacancy in self._vacancies.items() if vacancy.until > now}
        state = record.state
        if state is None:
            until = now + patience_seconds(record.lease, goal)
        elif state.active or state.holders:
            until = now + max(state.duration_seconds, goal.duration_seconds if goal else 0)
        else:
            until = now  # drained: nobody but the operator could have let anybody in again
        self._vacancies[record.pair] = _Vacancy(until, highest_fence(record.lease))

    def beginning(self, pair: Pair, goal: Goal | None) -> Beginning:
        """How a new Lease would begin."""
        vacancy = self._vacancies.get(pair)
        if vacancy is not None:
            return Beginning(vacancy.until, max(wall_microseconds(), vacancy.fence))
        since = self._since
        unknown = since is not None and goal is not None and self._pods.any_on(pair[1])
        return Beginning(since + goal.duration_seconds if unknown and since is not None and goal is not None else 0.0, wall_microseconds())

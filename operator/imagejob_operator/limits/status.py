"""The status of NodeLimits: when to write it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imagejob_operator.limits.cache import LimitState
from imagejob_operator.limits.facts import Json

PATIENCE_SECONDS = 10.0
"""How long the first status of a new generation waits for all Leases to say what they are to say."""


@dataclass(slots=True)
class StatusPace:
    """What one NodeLimit's status says, and when it may be written.

    While numbers alone change, one write in `seconds`. The first of a new generation comes as soon as all Leases are as it wants them.
    """

    seconds: float
    said: Mapping[str, Any] = field(default_factory=dict)
    """The status, as it was read or written last."""
    written_at: float | None = None
    """When it was written last by this process."""
    generation: int | None = None
    """The generation whose Leases are waited for."""
    since: float = 0.0

    def read(self, limit: Json) -> None:
        """The NodeLimit as it is."""
        self.said = limit.get("status") or {}

    def next(self, state: LimitState, now: float) -> tuple[dict[str, int] | None, float | None]:
        """What to write now, if anything, and after how many seconds to look again, if so."""
        if state.limit is None:
            return None, None
        generation = state.limit.generation
        wanted = {"observedGeneration": generation, **state.numbers}
        if all(self.said.get(name) == value for name, value in wanted.items()):
            return None, None
        if self.said.get("observedGeneration") != generation:
            if generation != self.generation:
                self.generation, self.since = generation, now
            left = self.since + PATIENCE_SECONDS - now if state.unsettled else 0.0
        else:
            left = 0.0 if self.written_at is None else self.written_at + self.seconds - now
        return (wanted, None) if left <= 0 else (None, left)

    def wrote(self, status: Mapping[str, Any], now: float) -> None:
        """It says this now."""
        self.said, self.written_at = status, now

"""How much of a limit anybody may ask for: set by whoever defines the limit, kept in its Lease.

What is asked beyond it is cut, and not refused: what was written for another cluster works here, too. Every client does so when it applies
a transition, so a Lease says what holds now; a cluster's admission policy refuses a higher priority in the queue, whoever writes it.
"""

import math
from dataclasses import dataclass
from typing import Final

ANNOTATION_MAX_HOLD: Final = "imagejob.dev/max-hold"
"""Seconds, as a decimal; no bound without it."""
ANNOTATION_MAX_PRIORITY: Final = "imagejob.dev/max-priority"
"""A whole number; no bound without it."""
ANNOTATIONS: Final = frozenset({ANNOTATION_MAX_HOLD, ANNOTATION_MAX_PRIORITY})


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a limit allows."""

    max_hold_seconds: float = math.inf
    """How long a holder may go on through ready work while others wait."""
    max_priority: int | None = None
    """The highest priority in the queue; None: any."""

    def priority(self, asked: int) -> int:
        """The priority of a request that asks for this one."""
        return asked if self.max_priority is None else min(asked, self.max_priority)

    def encode(self) -> dict[str, str]:
        """The Lease's annotations for it."""
        annotations = {}
        if math.isfinite(self.max_hold_seconds):
            annotations[ANNOTATION_MAX_HOLD] = f"{self.max_hold_seconds:.6f}".rstrip("0").rstrip(".")
        if self.max_priority is not None:
            annotations[ANNOTATION_MAX_PRIORITY] = str(self.max_priority)
        return annotations


UNBOUNDED: Final = Bounds()
"""Anybody may ask for anything."""

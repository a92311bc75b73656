"""How long a run took to begin and to end, besides its work. Phases overlap or leave gaps: their sum is not the time that passed."""

import os
from dataclasses import dataclass

from imagejob_runner.pipeline.turn import now


@dataclass(slots=True)
class StartUp:
    """The beginning of a run, in seconds; None of what did not happen.

    Attributes:
        begun: When the command was started, as `now` counts.
        importing: Loading Python packages, torch above all.
        planning: Listing the source and writing the plan, or reading it.
        loading: Loading the model's package and the model, and starting what prepares images.
        first_image: From the start of the command until the first image began: all of it.
    """

    begun: float
    importing: float | None = None
    planning: float | None = None
    loading: float | None = None
    first_image: float | None = None

    def as_json(self) -> dict[str, float]:
        """The object in ``summary.json`` and in what `imagejob run --json` prints."""
        phases = {
            "importSeconds": self.importing,
            "planSeconds": self.planning,
            "loadSeconds": self.loading,
            "firstImageSeconds": self.first_image,
        }
        return {name: round(seconds, 3) for name, seconds in phases.items() if seconds is not None}


def process_begun() -> float:
    """When this process was started, as `now` counts, to a hundredth of a second."""
    try:
        with open("/proc/self/stat", encoding="ascii") as file:  # noqa: PTH123  a kernel file
            ticks = int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return now()
    return min(now(), ticks / os.sysconf("SC_CLK_TCK"))

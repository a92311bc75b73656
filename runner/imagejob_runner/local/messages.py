"""What the supervisor and a runner process tell each other over their pipe."""

from collections import Counter
from dataclasses import dataclass, field

from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_runner.audit import Hold
from imagejob_runner.exceptions import InvalidJobError
from imagejob_runner.pipeline.progress import Progress


@dataclass(frozen=True, slots=True)
class Check:
    """Asks a process that has no shard yet to import what a pipeline names."""

    pipeline: ImagePipelineSpec


@dataclass(frozen=True, slots=True)
class Checked:
    """Answers `Check`: the error, or None if all of it is there."""

    error: InvalidJobError | None


@dataclass(frozen=True, slots=True)
class Ready:
    """A process has loaded everything and waits for `Go`."""


@dataclass(frozen=True, slots=True)
class Go:
    """Lets a process begin."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far a process is; sent when something has changed, at most a few times a second.

    Attributes:
        progress: Counts so far.
        already: Rows that were in the output before, by status, as `ShardRun.already`.
        holds: Holds that have ended since the last snapshot.
        writes: Lease writes so far, by limit.
    """

    progress: Progress
    already: Counter[str]
    holds: list[Hold] = field(default_factory=list)
    writes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ended:
    """The last message of a process that ends in order.

    Attributes:
        stopped: It was asked to stop; the shard may be incomplete.
        error: Why it cannot go on.
        exit_code: Of the whole run, if there is an error.
        again: Whether another process may get further; then the error counts as a crash.
    """

    stopped: bool = False
    error: str | None = None
    exit_code: int = 0
    again: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """Asks a process to finish its batch, commit what is whole, and end."""

"""A run in figures: while it goes on, for a display, and when it has ended, for people and programs."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from imagejob_api.imagejob import Phase
from imagejob_runner.audit import LimitFigures
from imagejob_runner.constants import ExitCode
from imagejob_runner.startup import StartUp
from imagejob_runner.utilisation import Utilisation


@dataclass(frozen=True, slots=True)
class LimitUse:
    """One limit at one moment.

    Attributes:
        slots: Slots on this node.
        held: Workers of this run that hold.
        waiting: Workers of this run that wait.
    """

    slots: int
    held: int
    waiting: int


@dataclass(frozen=True, slots=True)
class RunProgress:
    """A run at one moment.

    Attributes:
        phase: Planning or Running.
        total: Inputs.
        already: Images that were in the output before this run.
        succeeded, failed, skipped: Images that ended in this run.
        elapsed_seconds: Since the start of the run.
        images_per_second: Of late.
        eta_seconds: Until the end, at that rate; None while unknown.
        limits: Use of each limit.
        stages: Images and working seconds of each step.
        errors: Failed images by code.
        workers: Processes at work.
        restarts: Processes started again after a crash.
        utilisation: How busy the stages, the device and the CPUs have been of late, and what limits the run.
    """

    phase: Phase
    total: int = 0
    already: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    elapsed_seconds: float = 0.0
    images_per_second: float = 0.0
    eta_seconds: float | None = None
    limits: Mapping[str, LimitUse] = field(default_factory=dict)
    stages: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=Counter)
    workers: int = 0
    restarts: int = 0
    utilisation: Utilisation = field(default_factory=Utilisation)

    @property
    def done(self) -> int:
        """Images that have a row, or will have one at the next commit."""
        return self.already + self.succeeded + self.failed + self.skipped


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended.

    Attributes:
        phase: Succeeded, Failed, Suspended (interrupted; the same command goes on) or Cancelled.
        exit_code: Of the command.
        message: What happened and what to do, if it did not just succeed; may have several lines.
        total, succeeded, failed, skipped: Inputs, and rows in the output by status.
        elapsed_seconds: From the first download of this run to its last save.
        wall_seconds: From the start of the command, or the end of the job before, to the end of the run.
        done: Images that ended in this run.
        output: Where the rows are.
        limits: What the run did with each limit.
        errors: Failed rows of this run by code.
        startup: How long its beginning took.
        end_seconds: From its last save to its end; None if nothing was saved.
        utilisation: How busy the stages, the device and the CPUs were, and what limited the run.
    """

    phase: Phase
    exit_code: ExitCode
    message: str
    total: int
    succeeded: int
    failed: int
    skipped: int
    elapsed_seconds: float
    wall_seconds: float
    done: int
    output: str
    limits: Mapping[str, LimitFigures]
    errors: Mapping[str, int]
    startup: StartUp | None = None
    end_seconds: float | None = None
    utilisation: Utilisation = field(default_factory=Utilisation)

    @property
    def images_per_second(self) -> float:
        """Images that ended in this run, by `elapsed_seconds`."""
        return self.done / self.elapsed_seconds if self.elapsed_seconds > 0 else 0.0

    def as_json(self) -> dict[str, object]:
        """The object that `imagejob run --json` prints last."""
        return {
            "phase": self.phase.value,
            "elapsedSeconds": round(self.elapsed_seconds, 4),
            "wallSeconds": round(self.wall_seconds, 4),
            "images": {"total": self.total, "succeeded": self.succeeded, "failed": self.failed, "skipped": self.skipped},
            "imagesPerSecond": round(self.images_per_second, 3),
            "output": self.output,
            "limits": {name: figures.as_json() for name, figures in self.limits.items()},
            "errors": dict(self.errors),
            "start": self.startup.as_json() if self.startup is not None else {},
            "endSeconds": None if self.end_seconds is None else round(self.end_seconds, 3),
            "utilisation": self.utilisation.as_json(),
            "message": self.message,
        }

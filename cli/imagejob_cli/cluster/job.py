"""An ImageJob as the commands look at it.

It is read with a forgiving hand: what a newer operator adds is left aside, and what somebody wrote that is no status counts as not there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from imagejob_api.reasons import ConditionType, Reason
from imagejob_cli.cluster.reachability import why_unreachable
from imagejob_runner.constants import ExitCode

EXIT_CODES: Final[Mapping[str, ExitCode]] = {
    Reason.SUCCEEDED: ExitCode.SUCCEEDED,
    Reason.PARTIALLY_SUCCEEDED: ExitCode.PARTIAL,
    Reason.FAILED: ExitCode.JOB_FAILED,
    Reason.CANCELLED: ExitCode.CANCELLED,
}
"""By the reason of the condition Finished."""
_DEADLINES: Final = (Reason.DEADLINE_EXCEEDED, Reason.START_DEADLINE_EXCEEDED)


@dataclass(frozen=True, slots=True)
class ConditionView:
    """One of its conditions."""

    type: str
    holds: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class JobView:
    """An ImageJob at one moment."""

    namespace: str
    name: str
    phase: str
    """Empty as long as the operator has not looked at it."""
    observed: bool
    """Whether the status belongs to the spec as it is now."""
    conditions: tuple[ConditionView, ...]
    total: int
    """Images; 0 as long as they have not been counted."""
    succeeded: int
    failed: int
    skipped: int
    pods: int
    """Pods that have not ended."""
    waiting: int
    """Pods that wait for a slot."""
    rate: float | None
    """Images a second."""
    eta: datetime | None
    started: datetime | None
    completed: datetime | None
    bottleneck: str
    """What limits it and what would help, as most of its pods say."""
    suspend: bool
    """What the spec asks for."""
    cancel: bool
    output: str
    """URL of the rows."""
    unreachable: str
    """Why this machine cannot read them; empty if it may."""

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Self:
        """Reads an object as the API server gives it."""
        metadata, spec, status = (_mapping(found.get(key)) for key in ("metadata", "spec", "status"))
        images, output = _mapping(status.get("images")), _text(_mapping(spec.get("output")).get("url"))
        return cls(
            namespace=_text(metadata.get("namespace")),
            name=_text(metadata.get("name")),
            phase=_text(status.get("phase")),
            observed=_count(status.get("observedGeneration")) >= _count(metadata.get("generation")),
            conditions=_conditions(status.get("conditions")),
            total=_count(images.get("total")),
            succeeded=_count(images.get("succeeded")),
            failed=_count(images.get("failed")),
            skipped=_count(images.get("skipped")),
            pods=_count(_mapping(status.get("pods")).get("active")),
            waiting=_count(status.get("waitingForLimit")),
            rate=_decimal(status.get("imagesPerSecond")),
            eta=_time(status.get("eta")),
            started=_time(status.get("startTime")),
            completed=_time(status.get("completionTime")),
            bottleneck=_text(status.get("bottleneck")),
            suspend=spec.get("suspend") is True,
            cancel=spec.get("cancel") is True,
            output=output,
            unreachable=why_unreachable(output, spec) or "",
        )

    @property
    def done(self) -> int:
        """Images that have a row."""
        return self.succeeded + self.failed + self.skipped

    @property
    def full_name(self) -> str:
        """Namespace and name."""
        return f"{self.namespace}/{self.name}"

    def condition(self, kind: str) -> ConditionView | None:
        """The condition of this type."""
        return next((condition for condition in self.conditions if condition.type == kind), None)

    @property
    def finished(self) -> ConditionView | None:
        """The condition Finished once it holds, which is for good."""
        condition = self.condition(ConditionType.FINISHED)
        return condition if condition is not None and condition.holds else None

    @property
    def failure(self) -> ConditionView | None:
        """The condition Failed if it holds: why the job failed."""
        condition = self.condition(ConditionType.FAILED)
        return condition if condition is not None and condition.holds else None

    @property
    def exit_code(self) -> ExitCode | None:
        """What a program that waits for the job ends with; None as long as it is not finished."""
        finished = self.finished
        if finished is None:
            return None
        if self.failure is not None and self.failure.reason in _DEADLINES:
            return ExitCode.TIMEOUT
        return EXIT_CODES.get(finished.reason, ExitCode.JOB_FAILED)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _decimal(value: object) -> float | None:
    try:
        number = float(_text(value))
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _time(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(_text(value))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _conditions(value: object) -> tuple[ConditionView, ...]:
    entries = [_mapping(entry) for entry in value] if isinstance(value, list) else []
    return tuple(
        ConditionView(_text(entry.get("type")), entry.get("status") == "True", _text(entry.get("reason")), _text(entry.get("message")))
        for entry in entries
    )

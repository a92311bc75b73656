"""What an ImageJob does, and why it does not, in words."""

from collections.abc import Iterator
from datetime import datetime

from imagejob_api.reasons import FAULTS, ConditionType, Fault, Reason
from imagejob_cli.cluster.job import ConditionView, JobView
from imagejob_cli.wording import clock, count, printable, rate
from imagejob_runner.constants import ExitCode

_UNOBSERVED = "the operator has not looked at it yet; if this stays, check that it runs: kubectl get pods -n imagejob-system"
_HINDRANCES = (ConditionType.STALLED, ConditionType.RETRYING, ConditionType.SUSPENDED, ConditionType.RECONCILING)
"""Conditions that, when they hold, say why a job does not run."""
_CAUSES = {
    Fault.INFRASTRUCTURE: "a fault of the cluster",
    Fault.MODEL: "a fault of the model or the pipeline",
    Fault.INPUT: "a fault of the input",
    Fault.JOB: "as the job asks for",
}
_FAULTS = {
    # Of images the message says whose fault most of them are.
    **{str(reason): _CAUSES[fault] for reason, fault in FAULTS.items() if fault is not Fault.IMAGES},
    str(Reason.CRASHED): "a fault of the job's code or of the cluster",  # an exit code alone does not tell
}


def progress(job: JobView) -> str:
    """`812/1,000`; empty as long as the images have not been counted."""
    return f"{job.done:,}/{job.total:,}" if job.total else ""


def state(job: JobView, now: datetime) -> str:
    """Where the job stands, on one line: phase and figures.

    Args:
        job: The job.
        now: For what has elapsed and what is left.
    """
    parts = [printable(job.phase) or "New"]
    if job.total:
        parts.append(f"{100 * min(job.done, job.total) // job.total}%")
    if job.finished is None:
        parts += _pace(job, now)
    elapsed = _elapsed(job, now)
    if elapsed is not None:
        parts.append(f"{clock(elapsed)} {'elapsed' if job.finished is None else 'in all'}")
    if job.finished is None:
        parts += _pods(job)
    if job.skipped:
        parts.append(f"{job.skipped:,} skipped")
    return ", ".join(parts)


def hindrances(job: JobView) -> Iterator[str]:
    """Why the job does not run, or ended as it did; a line for each reason that somebody gave."""
    if job.finished is not None:
        if job.exit_code is not ExitCode.SUCCEEDED:
            yield _told(job.failure or job.finished)
        return
    if not job.conditions and not job.phase:
        yield _UNOBSERVED
        return
    holding = (condition for condition in map(job.condition, _HINDRANCES) if condition is not None and condition.holds)
    yield from dict.fromkeys(map(_told, holding))  # what fails everywhere is Stalled and Retrying in the same words
    if not job.observed:
        yield "the operator has not taken in the last change yet"


def _told(condition: ConditionView) -> str:
    fault = _FAULTS.get(condition.reason)
    reason = printable(condition.reason) + (f" ({fault})" if fault and condition.type == ConditionType.FAILED else "")
    return f"{reason}: {printable(condition.message)}" if condition.message else reason


def _pace(job: JobView, now: datetime) -> Iterator[str]:
    if job.rate:
        yield rate(job.rate)
    if job.eta is not None and job.done < job.total:
        yield f"{clock((job.eta - now).total_seconds())} left"


def _pods(job: JobView) -> Iterator[str]:
    if job.pods:
        yield count(job.pods, "pod")
    if job.waiting:
        yield f"{job.waiting:,} waiting for a slot"


def _elapsed(job: JobView, now: datetime) -> float | None:
    if job.started is None:
        return None
    end = job.completed or (now if job.finished is None else None)
    return None if end is None else max(0.0, (end - job.started).total_seconds())

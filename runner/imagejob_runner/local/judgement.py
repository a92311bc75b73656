"""What a finished run amounts to: the phase, the exit code and the words."""

from imagejob_api.imagejob import FailurePolicy, Phase
from imagejob_runner.constants import ExitCode
from imagejob_runner.output import Summary

RATE_FROM_IMAGES = 100
"""The failure rate is looked at from this many images on: before, one bad image would end a good job."""

Judgement = tuple[Phase, ExitCode, str]
"""Phase, exit code, and what happened and what to do."""


def too_many_failures(policy: FailurePolicy, failed: int, done: int) -> str | None:
    """Why a run should not go on, while `done` images have ended and `failed` of them have failed."""
    if policy.max_failures is not None and failed > policy.max_failures:
        return f"{failed} images failed; failurePolicy.maxFailures allows {policy.max_failures}."
    if done >= RATE_FROM_IMAGES and failed > policy.max_failure_rate * done:
        return f"{failed} of {done} images failed; failurePolicy.maxFailureRate allows a part of {policy.max_failure_rate:g}."
    return None


def judge(summary: Summary) -> Judgement:
    """The end of a run whose shards are all done."""
    part = f"{summary.failed} of {summary.total} images failed"
    if summary.missing:
        why = f"{summary.missing} of {summary.total} images have no row, though all shards are done: please report it, and run again."
        return Phase.FAILED, ExitCode.JOB_FAILED, why
    if not summary.within_policy:
        why = f"{part}, more than failurePolicy allows. All rows are in the output; errors.jsonl lists the failed ones."
        return Phase.FAILED, ExitCode.JOB_FAILED, why
    if summary.failed:
        return Phase.SUCCEEDED, ExitCode.PARTIAL, f"{part}, which failurePolicy allows; errors.jsonl lists them."
    return Phase.SUCCEEDED, ExitCode.SUCCEEDED, ""

"""What a finished run amounts to: the phase, the exit code and the words."""

from imagejob_api.failure import blame, most_failed
from imagejob_api.imagejob import Phase
from imagejob_runner.constants import ExitCode
from imagejob_runner.output import Summary

Judgement = tuple[Phase, ExitCode, str]
"""Phase, exit code, and what happened and what to do."""


def judge(summary: Summary) -> Judgement:
    """The end of a run whose shards are all done."""
    part = f"{summary.failed} of {summary.total} images failed"
    whose = blame(most_failed(summary.error_codes, summary.examples))
    if summary.missing:
        why = f"{summary.missing} of {summary.total} images have no row, though all shards are done: please report it, and run again."
        return Phase.FAILED, ExitCode.JOB_FAILED, why
    if not summary.within_policy:
        why = f"{part}, more than failurePolicy allows.{whose} All rows are in the output; errors.jsonl lists the failed ones."
        return Phase.FAILED, ExitCode.JOB_FAILED, why
    if summary.failed:
        return Phase.SUCCEEDED, ExitCode.PARTIAL, f"{part}, which failurePolicy allows; errors.jsonl lists them.{whose}"
    return Phase.SUCCEEDED, ExitCode.SUCCEEDED, ""

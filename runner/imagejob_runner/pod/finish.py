"""`imagejob-runner finish`, and what the last working pod does of it."""

import asyncio
import logging
from typing import Final

from imagejob_api.failure import most_failed
from imagejob_api.pod import SummaryReport
from imagejob_runner.output import Summary, finalize
from imagejob_runner.pipeline.turn import now
from imagejob_runner.planning import Plan, read_plan
from imagejob_runner.pod.context import Context
from imagejob_runner.pod.output import writable_output
from imagejob_runner.storage import OutputStore

PATIENCE_SECONDS: Final = 60.0
"""So long rows may be missing before that is believed: on a network file system a folder's new files are seen late on other nodes."""
LOOK_AGAIN_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)


async def finish(context: Context) -> None:
    """Completes the output of a job whose shards are all done.

    If rows are missing, nothing is written, and the summary says so: its total is larger than the sum of the others. That is a verdict on
    the job, which this pod has reached as it should; so it is no error of the pod.

    Raises:
        RunnerError: The output cannot be read or written.
    """
    output = await writable_output(context, planned=True)
    plan = await context.stop.or_else(read_plan(output))
    give_up = now() + PATIENCE_SECONDS
    while (summary := await complete(context, output, plan)).missing and now() < give_up:
        await context.stop.or_else(asyncio.sleep(LOOK_AGAIN_SECONDS))
    if summary.missing:
        logger.error("%d of %d images have no row in %s, though every shard is done", summary.missing, summary.total, output.url)
        _tell(context, summary)


async def complete(context: Context, output: OutputStore, plan: Plan) -> Summary:
    """Counts all rows, and if none is missing writes the files for people and tells the summary. Several pods may do so at once.

    Raises:
        RunnerError: The output cannot be read or written.
    """
    summary = await context.stop.or_else(finalize(output, plan, context.job.spec.failure_policy))
    if not summary.missing:
        _tell(context, summary)
        logger.info(
            "The job is done: %d images, %d succeeded, %d failed, %d skipped%s",
            summary.total,
            summary.succeeded,
            summary.failed,
            summary.skipped,
            "" if summary.within_policy else "; more failed than failurePolicy allows",
        )
    return summary


def _tell(context: Context, summary: Summary) -> None:
    context.tell(
        summary=SummaryReport(
            total=summary.total,
            succeeded=summary.succeeded,
            failed=summary.failed,
            skipped=summary.skipped,
            within_policy=summary.within_policy,
            most_failed=most_failed(summary.error_codes, summary.examples),
        )
    )

"""`imagejob-runner finish`, and what the last working pod does of it."""

import logging

from imagejob_api.pod import SummaryReport
from imagejob_runner.output import Summary, finalize
from imagejob_runner.planning import Plan, read_plan
from imagejob_runner.pod.context import Context
from imagejob_runner.pod.exits import IncompleteError
from imagejob_runner.storage import OutputStore, open_output

logger = logging.getLogger(__name__)


async def finish(context: Context) -> None:
    """Completes the output of a job whose shards are all done.

    Raises:
        IncompleteError: Rows are missing.
        RunnerError: The output cannot be read or written.
    """
    output = open_output(context.job.spec.output.url)
    plan = await context.stop.or_else(read_plan(output))
    await complete(context, output, plan)


async def complete(context: Context, output: OutputStore, plan: Plan) -> None:
    """Counts all rows, writes the files for people, and tells the summary. May be done by several pods at once.

    Raises:
        IncompleteError: Rows are missing.
        RunnerError: The output cannot be read or written.
    """
    summary: Summary = await context.stop.or_else(finalize(output, plan, context.job.spec.failure_policy))
    if summary.missing:
        raise IncompleteError(
            f"{summary.missing} of {summary.total} images have no row in {output.url}, though every shard is done. Unless somebody has "
            "removed parts of the output, please report it; another ImageJob with the same output does what is missing"
        )
    context.tell(
        summary=SummaryReport(
            total=summary.total,
            succeeded=summary.succeeded,
            failed=summary.failed,
            skipped=summary.skipped,
            within_policy=summary.within_policy,
        )
    )
    logger.info(
        "The job is done: %d images, %d succeeded, %d failed, %d skipped%s",
        summary.total,
        summary.succeeded,
        summary.failed,
        summary.skipped,
        "" if summary.within_policy else "; more failed than failurePolicy allows",
    )

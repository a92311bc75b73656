"""`imagejob-runner plan`."""

import logging

from imagejob_api.pod import PlanReport
from imagejob_runner.pod.context import Context
from imagejob_runner.pod.job import make_plan
from imagejob_runner.pod.output import writable_output

logger = logging.getLogger(__name__)


async def plan(context: Context) -> None:
    """Lists the source and writes the plan, or finds it there.

    Raises:
        RunnerError: The job cannot be planned.
    """
    job = context.job
    logger.info("Planning %s/%s into %s", job.namespace, job.name, job.spec.output.url)
    made = await context.stop.or_else(make_plan(job, await writable_output(context, planned=False)))
    context.tell(plan=PlanReport(total=made.total, shards=made.shards, chunk_size=made.chunk_size))
    logger.info("Planned: %d images in %d chunks and %d shards", made.total, made.chunks, made.shards)

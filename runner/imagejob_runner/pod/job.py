"""The job file that the operator mounts, and the plan of its job."""

from pathlib import Path

from pydantic import ValidationError

from imagejob_api.pod import JobFile, default_shards
from imagejob_runner.exceptions import InvalidJobError
from imagejob_runner.pipeline.assembly import check_code
from imagejob_runner.planning import Plan, confirm_plan, plan_job, read_plan
from imagejob_runner.storage import OutputStore

_SHOWN_ERRORS = 5


def read_job_file(path: Path) -> JobFile:
    """The job.

    Raises:
        InvalidJobError: The file cannot be read, or holds no job.
    """
    try:
        return JobFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidJobError(f"the job file {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, each['loc'])) or 'it'}: {each['msg']}" for each in error.errors(include_url=False)]
        raise InvalidJobError(f"the job file {path} holds no job: {'; '.join(wrong[:_SHOWN_ERRORS])}") from None


async def make_plan(job: JobFile, output: OutputStore) -> Plan:
    """Plans the job, or finds that it is planned; any number of pods may do so at once.

    The files that the pipeline names are fetched and their digests compared before anything slow is imported.

    Raises:
        RunnerError: It cannot be planned; what `plan_job` says.
    """

    async def check() -> None:
        check_code(job.pipeline)

    # plan_job bounds the number by that of the chunks, as `imagejob_api.pod.shard_count` does.
    shards = default_shards(job.spec.parallelism)
    return await plan_job(job.spec, job.pipeline, output, name=job.name, default_shards=shards, owner=job.uid, before_writing=check)


async def plan_to_work_by(job: JobFile, output: OutputStore) -> Plan:
    """The plan that the pod of a working part goes by.

    Inline URLs have no pod that plans, so each pod does: all write the same bytes, and the first one counts.

    Raises:
        RunnerError: There is no plan, it is of another job, or a model is not the one that is meant.
    """
    if job.spec.source.urls is not None:
        return await make_plan(job, output)
    plan = await read_plan(output)
    await confirm_plan(plan, output, job.pipeline, job.spec.output.format)
    return plan

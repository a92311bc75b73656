"""Which jobs of the given files are run, checked as a whole before the first one starts."""

import difflib
from collections.abc import Sequence

import click

from imagejob_api.documents import Documents, Origin
from imagejob_api.exceptions import InvalidFileError, Problem
from imagejob_api.imagejob import ImageJob
from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_cli.wording import count


def select_jobs(documents: Documents, names: Sequence[str]) -> list[ImageJob]:
    """The jobs with these names (`name` or `namespace/name`), or all if there are no names, in the order of the files.

    Raises:
        click.UsageError: There is no job, or none of a name, or several of it.
    """
    if not documents.jobs:
        held = [*(f"ImagePipeline {name}" for _, name in documents.pipelines), *(f"NodeLimit {name}" for name in documents.limits)]
        there = f"they hold {', '.join(held)}" if held else "they hold nothing of imagejob's"
        raise click.UsageError(f"no ImageJob in the files: {there}. Name the file with the ImageJob with another -f.")
    if not names:
        return documents.jobs
    chosen = [_named(documents.jobs, name) for name in names]
    return [job for job in documents.jobs if job in chosen]


def resolve_job(documents: Documents, job: ImageJob) -> ImagePipelineSpec:
    """The pipeline of a job, all of whose limits are defined in the files.

    Raises:
        InvalidFileError: The pipeline or a limit is missing.
    """
    pipeline = documents.resolve(job)
    origin = _pipeline_origin(documents, job)
    problems = [
        Problem(
            file=origin.file,
            document=origin.document,
            line=origin.line,
            message=str(missing),
            fix=f"add a NodeLimit with metadata.name {missing.limit} to the file, or name its file with another -f",
        )
        for missing in documents.missing_limits(pipeline)
    ]
    if problems:
        raise InvalidFileError(problems)
    return pipeline


def full_name(job: ImageJob) -> str:
    """Namespace and name."""
    return f"{job.metadata.namespace}/{job.metadata.name}"


def _named(jobs: Sequence[ImageJob], name: str) -> ImageJob:
    found = [job for job in jobs if name in (job.metadata.name, full_name(job))]
    if len(found) == 1:
        return found[0]
    if found:
        raise click.UsageError(f"--job {name} is the name of {count(len(found), 'job')}: say {' or '.join(map(full_name, found))}.")
    known = [job.metadata.name for job in jobs]
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(known)}."
    raise click.UsageError(f"--job {name}: no ImageJob of that name is in the files; {hint}")


def _pipeline_origin(documents: Documents, job: ImageJob) -> Origin:
    namespace = job.metadata.namespace
    inline = job.spec.pipeline_ref is None
    name = job.metadata.name if inline or job.spec.pipeline_ref is None else job.spec.pipeline_ref.name
    return documents.origins["ImageJob" if inline else "ImagePipeline", namespace, name]

"""Which jobs of the given files are run, checked as a whole before the first one starts."""

from collections.abc import Sequence

import click

from imagejob_api.documents import Documents, Origin
from imagejob_api.exceptions import InvalidFileError, Problem
from imagejob_api.imagejob import ImageJob
from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_api.wording import hint
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


def resolve_jobs(documents: Documents, jobs: Sequence[ImageJob]) -> list[ImagePipelineSpec]:
    """The pipelines of jobs, all of whose limits are defined in the files.

    Raises:
        InvalidFileError: Pipelines or limits are missing; names all that are.
    """
    pipelines: list[ImagePipelineSpec] = []
    problems: list[Problem] = []
    for job in jobs:
        try:
            pipeline = documents.resolve(job)
        except InvalidFileError as error:
            problems += error.problems
        else:
            pipelines.append(pipeline)
            problems += _missing_limits(documents, job, pipeline)
    if problems:
        raise InvalidFileError([*dict.fromkeys(problems)])  # jobs may share a pipeline
    return pipelines


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
    raise click.UsageError(f"--job {name}: no ImageJob of that name is in the files; {hint(name, known)}")


def _missing_limits(documents: Documents, job: ImageJob, pipeline: ImagePipelineSpec) -> list[Problem]:
    origin = _pipeline_origin(documents, job)
    return [
        Problem(
            file=origin.file,
            document=origin.document,
            line=origin.line,
            message=str(missing),
            fix=f"add a NodeLimit with metadata.name {missing.limit} to the file, or name its file with another -f",
        )
        for missing in documents.missing_limits(pipeline)
    ]


def _pipeline_origin(documents: Documents, job: ImageJob) -> Origin:
    reference = job.spec.pipeline_ref
    kind, name = ("ImageJob", job.metadata.name) if reference is None else ("ImagePipeline", reference.name)
    return documents.origins[kind, job.metadata.namespace, name]

"""`imagejob validate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from imagejob_cli.options import files_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagejob_api.documents import Documents, MissingPipeline
    from imagejob_api.imagejob import ImageJob, Source
    from imagejob_api.nodelimit import NodeLimit
    from imagejob_api.pipeline import ImagePipelineSpec


@click.command(
    epilog="""\b
Examples:
  imagejob validate -f job.yaml
  imagejob validate -f manifests/ && kubectl apply -f manifests/
"""
)
@files_option
def validate(files: tuple[Path | Literal["-"], ...]) -> None:
    """Check files as `kubectl apply` would, and say what they hold.

    Every mistake in every file is listed with its place and its fix. What a job refers to and is not in the files is a note: the cluster
    may have it. Nothing is run and nothing is fetched.
    """
    from imagejob_api.documents import load_documents
    from imagejob_cli.wording import printable

    documents = load_documents(files)
    lines = [*_objects(documents), *documents.ignored]
    for line in lines:
        print(printable(line))


def _objects(documents: Documents) -> Iterator[str]:
    for (kind, namespace, name), origin in documents.origins.items():
        title = f"{origin}: {kind} {'/'.join(filter(None, (namespace, name)))}"
        if kind == "ImageJob":
            job = next(job for job in documents.jobs if (job.metadata.namespace, job.metadata.name) == (namespace, name))
            pipeline = documents.pipeline_of(job)
            yield f"{title}: {_job(job, pipeline)}"
            yield from (f"{origin}: note: {note}" for note in (*_missing(documents, pipeline), *_clipped(documents, job, pipeline)))
            yield from (f"{origin}: note: {lost}" for lost in _in_pods(job))
        elif kind == "ImagePipeline":
            yield f"{title}: {_steps(documents.pipelines[namespace, name].spec)}"
        else:
            yield f"{title}: {_slots(documents.limits[name])}"


def _missing(documents: Documents, pipeline: ImagePipelineSpec | MissingPipeline) -> Iterator[str]:
    """What the cluster must have, since the files do not."""
    from imagejob_api.documents import MissingPipeline

    if isinstance(pipeline, MissingPipeline):
        yield f"{pipeline}, so the cluster must have it{f'; {pipeline.hint}' if pipeline.hint else ''}"
    else:
        yield from map(str, documents.missing_limits(pipeline))


def _in_pods(job: ImageJob) -> Iterator[str]:
    """What is right on this machine, and in a cluster is not."""
    from imagejob_api import output_in_pods

    if (why := output_in_pods.why_not(job.spec)) is not None:
        yield f"a cluster refuses the job: {why}; {output_in_pods.FIX}"


def _clipped(documents: Documents, job: ImageJob, pipeline: ImagePipelineSpec | MissingPipeline) -> Iterator[str]:
    """What the limits of the files allow less of than the job asks."""
    from imagejob_api.clipping import clipped
    from imagejob_api.documents import MissingPipeline

    if not isinstance(pipeline, MissingPipeline):
        allowed = {name: limit.spec for name, limit in documents.limits.items()}
        yield from clipped(pipeline.steps, job.spec.priority, allowed.get)


def _job(job: ImageJob, pipeline: ImagePipelineSpec | MissingPipeline) -> str:
    from imagejob_api.documents import MissingPipeline

    steps = f"ImagePipeline {pipeline.name}" if isinstance(pipeline, MissingPipeline) else _steps(pipeline)
    parts = [_source(job.spec.source), steps, f"to {job.spec.output.url}"]
    if job.spec.suspend:
        parts.append("suspended")
    if job.spec.cancel:
        parts.append("cancelled")
    return ", ".join(parts)


def _source(source: Source) -> str:
    from imagejob_api.redaction import shown_url
    from imagejob_cli.wording import count

    if source.urls is not None:
        return count(len(source.urls), "image")
    if source.manifest is not None:
        return f"images listed in {shown_url(source.manifest.url)}"
    if source.prefix is None:
        raise ValueError("a validated source has one of urls, manifest and prefix")
    return f"images below {shown_url(source.prefix.url)} ({source.prefix.glob})"


def _steps(pipeline: ImagePipelineSpec) -> str:
    steps = []
    for step in pipeline.steps:
        limits = ", ".join(limit.name if limit.slots == 1 else f"{limit.slots} of {limit.name}" for limit in step.limits)
        steps.append(f"{step.name} (takes {limits})" if limits else step.name)
    return " → ".join(steps)


def _slots(limit: NodeLimit) -> str:
    from imagejob_cli.wording import count

    spec = limit.spec
    slots = (
        f"{count(spec.slots, 'slot')} on each node"
        if spec.slots is not None
        else f"{count(spec.slots_per_device or 1, 'slot')} for each GPU"
    )
    return slots if spec.active else f"{slots}, not active"

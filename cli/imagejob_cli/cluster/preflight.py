"""What a job refers to and nobody has: looked for in the files and in the cluster before anything is made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagejob_api import output_in_pods
from imagejob_api.exceptions import InvalidFileError, Problem
from imagejob_api.imagejob import ImageJobSpec
from imagejob_api.wording import nearest
from imagejob_cli.cluster.api import Api
from imagejob_cli.cluster.exceptions import ForbiddenError
from imagejob_cli.cluster.manifests import Manifest
from imagejob_cli.cluster.resources import IMAGE_JOB, IMAGE_PIPELINE, NODE_LIMIT, Resource
from imagejob_cli.wording import printable

Specs = Mapping[str, Mapping[str, Any]]
"""Specs by name."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What there is besides the jobs, in the files and in the cluster. None: the user may not look."""

    pipelines: Mapping[str, Specs | None]
    """By namespace."""
    limits: Specs | None


async def look_around(api: Api, objects: Sequence[Manifest]) -> Surroundings:
    """Reads what the jobs of these objects may refer to."""
    namespaces = {found.namespace or "" for found in objects if found.resource == IMAGE_JOB}
    pipelines = {place: await _specs(api, IMAGE_PIPELINE, place, objects) for place in namespaces}
    return Surroundings(pipelines, await _specs(api, NODE_LIMIT, None, objects))


def look_nowhere(objects: Sequence[Manifest]) -> Surroundings:
    """What is known to whoever has the files alone: what they lack the cluster may have."""
    return Surroundings({found.namespace or "": None for found in objects if found.resource == IMAGE_JOB}, None)


def check_references(objects: Sequence[Manifest], around: Surroundings) -> list[str]:
    """Notes on what the jobs will wait for.

    Raises:
        InvalidFileError: A job's pipeline is nowhere, or its rows would be written into its pods where that cannot work.
    """
    jobs = [found for found in objects if found.resource == IMAGE_JOB]
    found = [(_missing_pipeline(job, around), _output_in_pods(job)) for job in jobs]
    problems = [problem for each in found for problem in each if problem is not None]
    if problems:
        raise InvalidFileError(problems)
    return [note for job in jobs for note in (*_missing_limits(job, around), *_local_output(job))]


async def _specs(api: Api, resource: Resource, namespace: str | None, objects: Sequence[Manifest]) -> Specs | None:
    given = {found.name: found.body["spec"] for found in objects if found.resource == resource and found.namespace == namespace}
    try:
        listing = await api.list(resource, namespace, {})
    except ForbiddenError:
        return None
    return {str(found["metadata"]["name"]): found.get("spec") or {} for found in listing.items} | given


def _missing_pipeline(job: Manifest, around: Surroundings) -> Problem | None:
    name = job.body["spec"].get("pipelineRef", {}).get("name")
    known = around.pipelines[job.namespace or ""]
    if name is None or known is None or name in known:
        return None
    guess = nearest(name, known)
    return Problem(
        file=job.origin.file,
        document=job.origin.document,
        line=job.origin.line,
        path="spec.pipelineRef.name",
        message=f"there is no ImagePipeline {name} in namespace {job.namespace}, neither in the files nor in the cluster",
        fix=f"did you mean {guess}?" if guess else "add the ImagePipeline to the file, or name its file with another -f",
    )


def _missing_limits(job: Manifest, around: Surroundings) -> Iterator[str]:
    if around.limits is None:
        return
    spec = job.body["spec"]
    known = around.pipelines[job.namespace or ""] or {}
    pipeline = spec.get("pipeline") or known.get(spec.get("pipelineRef", {}).get("name", ""), {})
    for step in pipeline.get("steps") or []:
        for limit in step.get("limits") or []:
            if limit["name"] not in around.limits:
                guess = nearest(limit["name"], around.limits)
                hint = f"did you mean {guess}?" if guess else "the job waits until there is one."
                yield f"{job.title}: step {step['name']} takes the limit {limit['name']}, and there is no such NodeLimit; {hint}"


def _output_in_pods(job: Manifest) -> Problem | None:
    why = output_in_pods.why_not(_spec(job))
    if why is None:
        return None
    origin = job.origin
    return Problem(origin.file, why, output_in_pods.FIX, document=origin.document, line=origin.line, path="spec.output.url")


def _local_output(job: Manifest) -> Iterator[str]:
    place = output_in_pods.place_in_pods(_spec(job))
    if place is not None:
        yield f"{job.title}: {printable(place)}, and is lost with it; {output_in_pods.FIX}."


def _spec(job: Manifest) -> ImageJobSpec:
    return ImageJobSpec.model_validate(job.body["spec"])

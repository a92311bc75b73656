"""The objects of some files as they are sent to a cluster: what the user wrote, in the namespace that is meant. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import click

from imagejob_api.documents import Documents, Origin
from imagejob_api.imagejob import ImageJob, ImagePipeline
from imagejob_api.nodelimit import NodeLimit
from imagejob_cli.cluster.resources import IMAGE_JOB, IMAGE_PIPELINE, NODE_LIMIT, Resource
from imagejob_cli.wording import printable

_WRITTEN_BY_USERS: Final = ("name", "namespace", "labels", "annotations", "finalizers", "ownerReferences")
"""Of the metadata; the rest is the API server's, and stands in a file that came from `kubectl get -o yaml`."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object to be sent."""

    resource: Resource
    """Its kind."""
    namespace: str | None
    """Where it goes; None if the kind has no namespaces."""
    body: dict[str, Any]
    """The object."""
    origin: Origin
    """Where it was read."""

    @property
    def name(self) -> str:
        """Of the object."""
        return str(self.body["metadata"]["name"])

    @property
    def title(self) -> str:
        """`ImageJob default/demo`."""
        return f"{self.resource.kind} {printable('/'.join(filter(None, (self.namespace, self.name))))}"


@dataclass(frozen=True, slots=True)
class Placement:
    """The namespace of objects."""

    target: str
    """Where objects go that name none: what -n says, else the context's."""
    given: str | None
    """What -n says."""

    def namespace_of(self, found: ImageJob | ImagePipeline) -> str:
        """The object's own namespace, if it names one.

        Raises:
            click.UsageError: -n names another.
        """
        if "namespace" not in found.metadata.model_fields_set:
            return self.target
        own = found.metadata.namespace
        if self.given not in (None, own):
            raise click.UsageError(
                f"{found.kind} {found.metadata.name} is for namespace {own}, and -n says {self.given}: leave one of them out."
            )
        return own


def manifests(documents: Documents, placement: Placement) -> list[Manifest]:
    """The objects in the order in which a cluster wants them: limits, pipelines, jobs.

    Raises:
        click.UsageError: -n contradicts an object.
    """
    return [*_limits(documents), *_pipelines(documents, placement), *_jobs(documents, placement)]


def _limits(documents: Documents) -> Iterator[Manifest]:
    for name, limit in documents.limits.items():
        yield Manifest(NODE_LIMIT, None, _body(limit, None), documents.origins["NodeLimit", "", name])


def _pipelines(documents: Documents, placement: Placement) -> Iterator[Manifest]:
    for (namespace, name), pipeline in documents.pipelines.items():
        place = placement.namespace_of(pipeline)
        yield Manifest(IMAGE_PIPELINE, place, _body(pipeline, place), documents.origins["ImagePipeline", namespace, name])


def _jobs(documents: Documents, placement: Placement) -> Iterator[Manifest]:
    for job in documents.jobs:
        place = placement.namespace_of(job)
        yield Manifest(IMAGE_JOB, place, _body(job, place), documents.origins["ImageJob", job.metadata.namespace, job.metadata.name])


def _body(model: ImageJob | ImagePipeline | NodeLimit, namespace: str | None) -> dict[str, Any]:
    """What the user wrote and nothing else: a default that is sent is a wish, and a later version may have another."""
    written = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    metadata = {key: value for key, value in written["metadata"].items() if key in _WRITTEN_BY_USERS}
    if namespace is not None:
        metadata["namespace"] = namespace
    return {"apiVersion": model.api_version, "kind": model.kind, "metadata": metadata, "spec": written["spec"]}

"""Makes the objects of some files in a cluster: all of them, or none if one would be refused."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagejob_cli.cluster.api import Api, Json
from imagejob_cli.cluster.exceptions import ForbiddenError, NotFoundError
from imagejob_cli.cluster.job import JobView
from imagejob_cli.cluster.manifests import Manifest
from imagejob_cli.cluster.resources import IMAGE_JOB, NODE_LIMIT
from imagejob_cli.wording import printable


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an object."""

    manifest: Manifest
    """The object."""
    words: str
    """`created`, `configured`, `unchanged`, or why it was left as it is."""
    notes: tuple[str, ...] = ()
    """What the user should know besides."""


async def submit(api: Api, objects: Sequence[Manifest]) -> list[Outcome]:
    """Tries all objects, and makes them when none is refused.

    A NodeLimit that is there, and that the user may not change, is left as it is: it is the platform's, and the file beside the job tells
    what it was written for.

    Raises:
        ClusterError: An object is refused; nothing was made.
    """
    before = [await _current(api, found) for found in objects]
    allowed = [await _try(api, found, current) for found, current in zip(objects, before, strict=True)]
    outcomes = []
    for found, current, may in zip(objects, before, allowed, strict=True):
        if not may:
            outcomes.append(Outcome(found, "left as it is: it is there, and you may not change it"))
            continue
        applied = await api.apply(found.resource, found.namespace, found.body)
        notes = (*map(printable, applied.warnings), *_notes(found, current))
        outcomes.append(Outcome(found, "created" if applied.created else _changed(current, applied.object), notes))
    return outcomes


async def _current(api: Api, found: Manifest) -> Json | None:
    try:
        return await api.get(found.resource, found.namespace, found.name)
    except (NotFoundError, ForbiddenError):
        return None


async def _try(api: Api, found: Manifest, current: Json | None) -> bool:
    """Whether the object may be applied."""
    try:
        await api.apply(found.resource, found.namespace, found.body, dry_run=True)
    except ForbiddenError:
        if found.resource == NODE_LIMIT and current is not None:
            return False
        raise
    return True


def _changed(before: Json | None, after: Json) -> str:
    return "unchanged" if before is not None and _written(before) == _written(after) else "configured"


def _written(found: Mapping[str, Any]) -> tuple[object, ...]:
    """What users write of an object; a status that was written in between is no change."""
    metadata = found["metadata"]
    return found.get("spec"), metadata.get("labels"), metadata.get("annotations"), metadata.get("finalizers")


def _notes(found: Manifest, before: Json | None) -> Iterator[str]:
    if found.resource != IMAGE_JOB or before is None:
        return
    finished = JobView.of(before).finished
    if finished is not None:
        yield f"{found.title} is finished already ({printable(finished.reason)}); give it another name to run it again."

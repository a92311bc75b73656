"""Makes the objects of some files in a cluster: all of them, or none if one would be refused."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagejob_cli.cluster.api import Api, Applied, Json
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
    """`created`, `configured`, `unchanged`, or what happened instead."""
    notes: tuple[str, ...] = ()
    """What the user should know besides."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """What came of trying an object."""

    before: Json | None
    """The object as it is; None if it is not there, or may not be read."""
    hidden: bool
    """Whether it may not be read."""
    applied: Applied | None = None
    """What would become of it."""
    refusal: ForbiddenError | None = None
    """Why it may not be applied, if others may be made without it."""


async def submit(api: Api, objects: Sequence[Manifest], *, dry_run: bool = False) -> list[Outcome]:
    """Tries all objects, and makes them when none is refused; with `dry_run` only tries them.

    A NodeLimit that the user may not change is left to the platform, whose it is, unless it is known to be missing: the document beside
    the job tells what the job was written for.

    Raises:
        ClusterError: An object is refused; nothing was made.
    """
    trials = [await _try(api, found) for found in objects]
    refusals = [trial.refusal for trial in trials if trial.refusal is not None]
    if refusals and len(refusals) == len(trials):
        raise refusals[0]
    outcomes = []
    for found, trial in zip(objects, trials, strict=True):
        if trial.refusal is not None:
            outcomes.append(_left(found, hidden=trial.hidden))
            continue
        applied = trial.applied if dry_run else None
        if applied is None:
            applied = await api.apply(found.resource, found.namespace, found.body)
        notes = (*map(printable, applied.warnings), *_notes(found, trial.before))
        outcomes.append(Outcome(found, "created" if applied.created else _changed(trial.before, applied.object), notes))
    return outcomes


async def _try(api: Api, found: Manifest) -> _Trial:
    before: Json | None = None
    hidden = False
    try:
        before = await api.get(found.resource, found.namespace, found.name)
    except NotFoundError:
        pass
    except ForbiddenError:
        hidden = True
    try:
        applied = await api.apply(found.resource, found.namespace, found.body, dry_run=True)
    except ForbiddenError as error:
        if found.resource != NODE_LIMIT or (before is None and not hidden):
            raise
        return _Trial(before, hidden, refusal=error)
    return _Trial(before, hidden, applied)


def _left(found: Manifest, *, hidden: bool) -> Outcome:
    if not hidden:
        return Outcome(found, "left as it is: it is there, and you may not change it")
    rights = f"{found.title} is left out: NodeLimits are for the whole cluster, and you may neither read nor change them"
    note = f"{rights}. If there is none of that name the job waits for it; whoever runs the cluster may make it."
    return Outcome(found, "left out", (note,))


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

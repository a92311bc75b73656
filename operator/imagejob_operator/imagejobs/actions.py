"""What a plan may ask for. Each can be done again without harm, and an end after any one of them leaves nothing half done."""

from dataclasses import dataclass, field
from typing import Literal

from imagejob_api.imagejob import ImageJobStatus
from imagejob_api.pod import JobFile, Part
from imagejob_operator.manifest import Json


@dataclass(frozen=True, slots=True)
class EnsureAccess:
    """Make the namespace's service account and role bindings, as far as they are missing."""

    namespace: str


@dataclass(frozen=True, slots=True)
class EnsureFile:
    """Make the ConfigMap with the job file, or change it."""

    file: JobFile


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Create a Job."""

    part: Part
    body: Json


@dataclass(frozen=True, slots=True)
class PatchJob:
    """Change a Job by a merge patch."""

    name: str
    patch: Json


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Delete a Job, and wait for its pods before another takes its name."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete a pod at once, without its node's word: the node does not answer."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class DeleteImageJob:
    """Delete the ImageJob, and with it all that it owns."""

    uid: str


Action = EnsureAccess | EnsureFile | CreateJob | PatchJob | DeleteJob | DeletePod | DeleteImageJob


@dataclass(frozen=True, slots=True)
class Notice:
    """A Kubernetes Event for `kubectl describe`."""

    kind: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A look at the Events of an object, since its status does not say what is wrong."""

    kind: Literal["Job", "Pod"]
    uid: str
    fresh_seconds: float = field(default=30.0, compare=False)
    """How long the answer may be used."""
    claims: tuple[str, ...] = ()
    """ResourceClaims that a pod without a node names: of one that is missing nobody speaks."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about an ImageJob now."""

    status: ImageJobStatus | None = None
    """Its status when the actions are done; None if there is nothing to say any more."""
    actions: tuple[Action, ...] = ()
    """In this order."""
    notices: tuple[Notice, ...] = ()
    inquiry: Inquiry | None = None
    """Look there, and plan again."""
    again_after: float | None = None
    """Seconds after which time alone may ask for another plan."""

"""A pod as the planner looks at it. What it says of itself is taken with care: it may be anybody's code."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self, TypeVar

from pydantic import ValidationError

from imagejob_api.pod import ANNOTATION_PROGRESS, LABEL_PART, RUNNER_CONTAINER, Part, PodImages, PodProgress, PodResult
from imagejob_operator.constants import ANNOTATION_INDEX
from imagejob_operator.manifest import Json
from imagejob_operator.timestamps import parse_time

_ENDED = ("Succeeded", "Failed")
_ATTACHED = ("persistentVolumeClaim", "ephemeral", "csi")
_LONGEST_WORDS = 1000
_INDEX_DIGITS = 9
_LONGEST_TEXT = 2000
_Report = TypeVar("_Report", PodResult, PodProgress)


@dataclass(frozen=True, slots=True)
class PodView:
    """One pod of an ImageJob."""

    name: str
    uid: str
    owner: str
    """Uid of the Job that it belongs to; empty without one."""
    part: Part
    index: int
    node: str
    phase: str
    status_reason: str
    """The kubelet's or a controller's word for the pod's end, such as Evicted."""
    created: datetime | None
    deletion: datetime | None
    """When a pod that is being deleted is to be gone."""
    ready: bool
    unschedulable: str
    """The scheduler's words, if it finds no node, or is not to look for one yet."""
    scheduled_at: datetime | None
    """When the scheduler last said whether there is a node."""
    waiting: tuple[str, str]
    """Reason and message of a container that does not run yet."""
    exit_code: int | None
    exit_reason: str
    """The kubelet's word for the container's end, such as OOMKilled."""
    last_words: str
    """What the kubelet or a controller says of the end, where the pod itself could say nothing."""
    ended_at: datetime | None
    """When its container ended."""
    disrupted: bool
    """Whether it was to go, by an eviction or a drain: this counts for no attempt."""
    image: str
    """Its container's image."""
    attaches: bool
    """Whether it has a volume that somebody must make or attach before its container starts."""
    claims: tuple[str, ...]
    """ResourceClaims that it names."""
    result: PodResult | None
    progress: PodProgress | None

    @classmethod
    def of(cls, pod: Json) -> Self | None:
        """The view of a pod; None if it does no part of a job."""
        metadata, status = pod["metadata"], pod.get("status") or {}
        labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
        part = next((part for part in Part if part.label == labels.get(LABEL_PART)), None)
        if part is None:
            return None
        conditions = {each["type"]: each for each in status.get("conditions") or ()}
        scheduled = conditions.get("PodScheduled", {})
        refused = scheduled.get("status") == "False"
        state = _container_state(status)
        waiting, terminated = state.get("waiting") or {}, state.get("terminated") or {}
        index = annotations.get(ANNOTATION_INDEX, "0")
        spec = pod.get("spec") or {}
        result = _read(PodResult, terminated.get("message"))
        said = "" if result is not None else str(terminated.get("message") or status.get("message") or "")
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            owner=next((each["uid"] for each in metadata.get("ownerReferences") or () if each.get("controller")), ""),
            part=part,
            index=int(index) if index.isdecimal() and len(index) <= _INDEX_DIGITS else 0,
            node=spec.get("nodeName", ""),
            phase=status.get("phase", "Pending"),
            status_reason=status.get("reason", ""),
            created=parse_time(metadata.get("creationTimestamp")),
            deletion=parse_time(metadata.get("deletionTimestamp")),
            ready=conditions.get("Ready", {}).get("status") == "True",
            unschedulable=scheduled.get("message", "")[:_LONGEST_TEXT] if refused else "",
            scheduled_at=parse_time(scheduled.get("lastTransitionTime")),
            waiting=(waiting.get("reason", ""), waiting.get("message", "")[:_LONGEST_TEXT]),
            exit_code=terminated.get("exitCode"),
            exit_reason=terminated.get("reason", ""),
            last_words=" ".join(said.split())[:_LONGEST_WORDS],
            ended_at=parse_time(terminated.get("finishedAt")),
            disrupted=conditions.get("DisruptionTarget", {}).get("status") == "True",
            image=next((each.get("image", "") for each in spec.get("containers") or () if each.get("name") == RUNNER_CONTAINER), ""),
            attaches=any(kind in volume for volume in spec.get("volumes") or () for kind in _ATTACHED),
            claims=tuple(each["resourceClaimName"] for each in spec.get("resourceClaims") or () if each.get("resourceClaimName")),
            result=result,
            progress=_read(PodProgress, annotations.get(ANNOTATION_PROGRESS)),
        )

    @property
    def ended(self) -> bool:
        """Whether its containers run no more."""
        return self.phase in _ENDED

    @property
    def running(self) -> bool:
        """Whether it works, and is not on its way out."""
        return self.phase == "Running" and self.deletion is None

    @property
    def pending(self) -> bool:
        """Whether it is yet to run."""
        return self.phase == "Pending" and self.deletion is None

    @property
    def images(self) -> PodImages | None:
        """Its newest count of rows; None if it has told of none."""
        if self.result is not None:
            return self.result.images
        return self.progress.images if self.progress is not None else None


def _container_state(status: Json) -> Json:
    states = [each.get("state") or {} for each in status.get("containerStatuses") or () if each.get("name") == RUNNER_CONTAINER]
    return states[0] if states else {}


def _read(model: type[_Report], text: object) -> _Report | None:
    if not isinstance(text, str) or not text:
        return None
    try:
        return model.model_validate_json(text)
    except ValidationError:
        return None

"""A Job as the planner looks at it."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from imagejob_api.pod import LABEL_PART, Part
from imagejob_api.reasons import Reason
from imagejob_operator.constants import ANNOTATION_DIGEST, ANNOTATION_STOP, LABEL_KUEUE_QUEUE
from imagejob_operator.manifest import Json
from imagejob_operator.objects.naming import controller_of
from imagejob_operator.timestamps import parse_time

_LONGEST_TEXT: Final = 2000
_METADATA: Final = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp")
_SPEC: Final = ("suspend", "parallelism", "completions")
_STATUS: Final = ("active", "succeeded", "startTime")
_CONDITION: Final = ("type", "status", "reason", "lastTransitionTime")
_REASONS: Final = {str(reason): reason for reason in Reason}


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a job is to end before its work is done."""

    reason: Reason
    message: str

    def encoded(self) -> str:
        """The value of `ANNOTATION_STOP`."""
        return json.dumps({"reason": self.reason, "message": self.message})

    @classmethod
    def decoded(cls, text: str) -> Self | None:
        """What an annotation says; None if it cannot be understood."""
        try:
            said = json.loads(text)
            return cls(_REASONS[said["reason"]], str(said["message"])[:_LONGEST_TEXT])
        except (ValueError, TypeError, KeyError):
            return None


@dataclass(frozen=True, slots=True)
class JobView:
    """One Job of an ImageJob."""

    name: str
    uid: str
    part: Part
    digest: str
    """What its pods were made from."""
    queued: bool
    """Whether Kueue decides when it runs."""
    deleting: bool
    suspended: bool
    """Whether it is to have no pods."""
    settled: bool
    """Whether a suspended Job's pods have been told to end."""
    complete: bool
    failure: tuple[str, str] | None
    """Reason and message of its condition Failed."""
    stop: Stop | None
    parallelism: int
    completions: int
    succeeded: int
    failed_indexes: int
    created: datetime | None
    ended_at: datetime | None
    """When it was complete, or had failed."""
    started: datetime | None
    """When Kubernetes began to make pods; anew after a suspension."""

    @classmethod
    def of(cls, job: Json) -> Self | None:
        """The view of a Job; None if it does not say which part it is."""
        metadata, spec, status = job["metadata"], job.get("spec") or {}, job.get("status") or {}
        labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
        part = next((part for part in Part if part.label == labels.get(LABEL_PART)), None)
        if part is None:
            return None
        conditions = {each["type"]: each for each in status.get("conditions") or () if each.get("status") == "True"}
        failed = conditions.get("Failed")
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            part=part,
            digest=annotations.get(ANNOTATION_DIGEST, ""),
            queued=LABEL_KUEUE_QUEUE in labels,
            deleting="deletionTimestamp" in metadata,
            suspended=bool(spec.get("suspend")),
            settled="Suspended" in conditions and not status.get("active"),
            complete="Complete" in conditions,
            failure=(failed.get("reason", ""), failed.get("message", "")) if failed else None,
            stop=Stop.decoded(annotations[ANNOTATION_STOP]) if ANNOTATION_STOP in annotations else None,
            parallelism=spec.get("parallelism", 1),
            completions=spec.get("completions") or 1,
            succeeded=status.get("succeeded", 0),
            failed_indexes=_count_indexes(status.get("failedIndexes") or ""),
            created=parse_time(metadata.get("creationTimestamp")),
            ended_at=parse_time((failed or conditions.get("Complete") or {}).get("lastTransitionTime")),
            started=parse_time(status.get("startTime")),
        )

    @property
    def ended(self) -> bool:
        """Whether it will make no more pods."""
        return self.complete or self.failure is not None


def without_what_no_view_shows(job: Json) -> Json:
    """A Job as far as `JobView` and the question whose it is need it: of a fixed size, whatever its template, labels and indexes hold."""
    metadata, status = job["metadata"], job.get("status") or {}
    controller = controller_of(job)
    stop = Stop.decoded((metadata.get("annotations") or {}).get(ANNOTATION_STOP, ""))
    digest = (metadata.get("annotations") or {}).get(ANNOTATION_DIGEST, "")[:_LONGEST_TEXT]
    conditions = [
        {**_some(each, _CONDITION), "message": each.get("message", "")[:_LONGEST_TEXT]} for each in status.get("conditions") or ()
    ]
    failed = _count_indexes(status.get("failedIndexes") or "")
    return {
        "metadata": {
            **_some(metadata, _METADATA),
            "labels": _some(metadata.get("labels") or {}, (LABEL_PART, LABEL_KUEUE_QUEUE)),
            "annotations": {ANNOTATION_DIGEST: digest} | ({} if stop is None else {ANNOTATION_STOP: stop.encoded()}),
            "ownerReferences": [] if controller is None else [{"uid": controller["uid"], "controller": True}],
        },
        "spec": _some(job.get("spec") or {}, _SPEC),
        # Of the indexes only their number is looked at.
        "status": {**_some(status, _STATUS), "conditions": conditions, "failedIndexes": f"0-{failed - 1}" if failed else ""},
    }


def _some(thing: Json, keys: tuple[str, ...]) -> Json:
    return {key: thing[key] for key in keys if key in thing}


def _count_indexes(text: str) -> int:
    """Number of indexes in Kubernetes' short form, such as ``0,3-5``."""
    count = 0
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        count += int(last or first) - int(first) + 1
    return count

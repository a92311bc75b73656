"""What is kept of every ImageJob, however long it is."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from imagejob_api.reasons import ConditionType
from imagejob_operator.manifest import Json
from imagejob_operator.timestamps import parse_time

_END: Final = (ConditionType.FINISHED, ConditionType.COMPLETE, ConditionType.FAILED)
_LONGEST_NAME: Final = 253


@dataclass(frozen=True, slots=True)
class JobSummary:
    """An ImageJob in a few words. It may be malformed: whoever wants to say so reads the whole."""

    uid: str
    phase: str
    """Empty while nobody has written one."""
    pipeline: str
    """Name of the ImagePipeline that it names; empty if it names none."""
    ended: bool
    """Whether its end is written."""
    settled: bool
    """Whether its status says all there is to say about its end."""
    ended_at: datetime | None
    """When it ended."""
    deleted_at: datetime | None
    """When `ttlSecondsAfterFinished` is over."""

    @classmethod
    def of(cls, job: Json) -> Self:
        """The summary of an ImageJob."""
        metadata, spec, status = job["metadata"], _mapping(job.get("spec")), _mapping(job.get("status"))
        told = {kind for kind in _END for each in _list(status.get("conditions")) if _holds(each, kind)}
        # Earlier operators wrote no reason beside the conditions of the end.
        finished = ConditionType.FINISHED in told and (bool(status.get("reason")) or len(told) == 1)
        ttl, completion = spec.get("ttlSecondsAfterFinished"), parse_time(status.get("completionTime"))
        return cls(
            uid=metadata["uid"],
            phase=_word(status.get("phase")),
            pipeline=_word(_mapping(spec.get("pipelineRef")).get("name")),
            ended=bool(status.get("completionTime")),
            settled=finished and status.get("observedGeneration") == metadata.get("generation") and "deletionTimestamp" not in metadata,
            ended_at=completion,
            deleted_at=completion + timedelta(seconds=ttl) if isinstance(ttl, int) and completion is not None else None,
        )


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _word(value: object) -> str:
    """A name; one that is longer than any may be is none."""
    return value if isinstance(value, str) and len(value) <= _LONGEST_NAME else ""


def _holds(condition: object, kind: ConditionType) -> bool:
    said = _mapping(condition)
    return said.get("type") == kind and said.get("status") == "True"

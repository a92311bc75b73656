"""A job's pods as `logs` looks at them: pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from imagejob_api.pod import LABEL_PART, RUNNER_CONTAINER, Part

_INDEX: Final = "batch.kubernetes.io/job-completion-index"
_PARTS: Final = {part.label: part for part in Part}


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod."""

    name: str
    part: str
    """plan, work or finish."""
    index: int | None
    """Which of the work's pods it is."""
    created: str
    """When it was made, RFC 3339."""
    failed: bool
    """Whether it ended with an error, or was ended by the cluster."""
    started: bool
    """Whether its container runs or has run, so that there is a log."""
    ended: bool
    """Whether its container has ended."""
    hindrance: str
    """Why its container has not started, in the words of the kubelet or the scheduler."""

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Self:
        """Reads a pod as the API server gives it."""
        metadata, status = found.get("metadata") or {}, found.get("status") or {}
        labels = metadata.get("labels") or {}
        index = labels.get(_INDEX, "")
        container = _container(status)
        return cls(
            name=metadata.get("name", ""),
            part=labels.get(LABEL_PART, ""),
            index=int(index) if index.isdigit() else None,
            created=metadata.get("creationTimestamp") or "",
            failed=status.get("phase") == "Failed",
            started="running" in container or "terminated" in container,
            ended="terminated" in container or status.get("phase") in ("Failed", "Succeeded"),
            hindrance=_hindrance(status, container),
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which pods' logs are asked for."""

    index: int | None = None
    part: str | None = None
    failed: bool = False

    def has(self, pod: PodView) -> bool:
        """Whether a pod is one of them."""
        return (
            (self.index is None or pod.index == self.index)
            and (self.part is None or pod.part == self.part)
            and (pod.failed or not self.failed)
        )


def wanted_pods(found: Iterable[Mapping[str, Any]], wanted: Wanted) -> list[PodView]:
    """The pods that are asked for, in the order of the job's work."""
    pods = [pod for pod in map(PodView.of, found) if wanted.has(pod)]
    return sorted(pods, key=lambda pod: (_PARTS.get(pod.part, Part.WORK), -1 if pod.index is None else pod.index, pod.created, pod.name))


def _container(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state of the runner's container."""
    for container in status.get("containerStatuses") or []:
        if container.get("name") == RUNNER_CONTAINER:
            state: Mapping[str, Any] = container.get("state") or {}
            return state
    return {}


def _hindrance(status: Mapping[str, Any], container: Mapping[str, Any]) -> str:
    if (waiting := container.get("waiting")) is not None:
        return _told(waiting, "waiting")
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _told(condition, "not scheduled")
    return _told(status, str(status.get("phase", "Pending")))


def _told(source: Mapping[str, Any], otherwise: str) -> str:
    return ": ".join(str(source[key]) for key in ("reason", "message") if source.get(key)) or otherwise

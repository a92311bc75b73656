"""Which processes of a pod that runs have ended: those in a container that has ended since, whether it was started again or waits for that.

An id tells when its process was there, and so do the times in the pod's status: both by the clock of the pod's own node. No other is read.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime

from imagejob_operator.limits.facts import Json
from nodelease.identity import origin

Ends = Mapping[str, float]
"""When each container of a pod ended last, in seconds since 1970; 0 for one that never did. Empty if none did."""


def container_ends(pod: Json) -> Ends:
    """When the containers of a pod ended last."""
    ends = {str(status.get("name")): _end(status) for status in _statuses(pod)}
    return ends if any(ends.values()) else {}


def has_ended(request_id: str, ends: Ends) -> bool:
    """Whether the process of a request has ended. Where it does not tell its container, all must have ended since."""
    if not ends:  # as of nearly all: then no id is taken apart, of which a Lease may have thousands
        return False
    of = origin(request_id)
    if of is None:
        return False
    homes = [ends.get(of.container, 0.0)] if of.container else list(ends.values())
    return all(end > of.seconds for end in homes)


def _statuses(pod: Json) -> Iterator[Json]:
    """Of the containers that may run beside each other; those that only prepare the pod have ended for good."""
    status = pod.get("status") or {}
    yield from status.get("containerStatuses") or ()
    yield from status.get("ephemeralContainerStatuses") or ()
    yield from (each for each in status.get("initContainerStatuses") or () if "running" in (each.get("state") or {}))


def _end(status: Json) -> float:
    """When a container ended last; 0 also if it runs since before that: then its node's clock was set back, and tells nothing."""
    end = max(_finished(status), default=0.0)
    started = ((status.get("state") or {}).get("running") or {}).get("startedAt")
    return 0.0 if isinstance(started, str) and end > _seconds(started) else end


def _finished(status: Json) -> Iterator[float]:
    for state in (status.get("state") or {}, status.get("lastState") or {}):
        text = (state.get("terminated") or {}).get("finishedAt")
        if isinstance(text, str):
            yield _seconds(text)


def _seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0

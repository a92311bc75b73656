"""What becomes of a Lease that does not keep the contract.

Nothing may be granted from it, and no holder can renew. What the operator itself writes there is known anyway, and a queue may be lost:
waiters that do not find themselves in it ask again. So if the holders can still be read, the Lease is mended at once and they keep
their slots.

If they cannot, somebody may hold a slot who is not known. Then the Lease is replaced by an empty one, but only when the same version of it
has been seen for a whole lease duration on the operator's own clock: whoever held a slot has not renewed for that long, and so has stopped
using it. The fence goes on above the highest number that can be found, so that no holding is named twice.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from imagejob_operator.limits.facts import Goal, Json
from nodelease import transitions
from nodelease.bounds import ANNOTATIONS as BOUNDS
from nodelease.codec import decode
from nodelease.constants import (
    ANNOTATION_ACTIVE,
    ANNOTATION_EPOCH,
    ANNOTATION_HOLDERS,
    ANNOTATION_QUEUE,
    ANNOTATION_SLOTS,
    DEFAULT_DURATION_SECONDS,
    MOST_GRANTS,
)
from nodelease.exceptions import MalformedLeaseError
from nodelease.state import LeaseState

_WHOLE: Final = re.compile(r"[0-9]{1,18}")
_FENCE: Final = re.compile(r'"fence"\s*:\s*([0-9]{1,18})(?![0-9])')


def salvaged(lease: Json, goal: Goal, epoch: int) -> LeaseState | None:
    """The state with the holders as they stand there, and the queue where possible; None if the holders cannot be told.

    Its fences go on from the highest; a new epoch begins where they are not as the Lease's own epoch allows.
    """
    annotations = lease["metadata"].get("annotations") or {}
    if ANNOTATION_HOLDERS not in annotations:
        return None  # whoever took the annotation away may have taken holders with it
    draft: dict[str, Any] = {"metadata": {"annotations": dict(annotations)}, "spec": deepcopy(dict(lease.get("spec") or {}))}
    draft["metadata"]["annotations"] |= {ANNOTATION_SLOTS: str(goal.slots), ANNOTATION_ACTIVE: "true" if goal.active else "false"}
    for name in BOUNDS:
        draft["metadata"]["annotations"].pop(name, None)
    draft["metadata"]["annotations"] |= goal.bounds.encode()
    highest, said = highest_fence(lease), _epoch(lease)
    begun = said if highest - said <= MOST_GRANTS else max(epoch, highest)
    draft["metadata"]["annotations"][ANNOTATION_EPOCH] = str(begun)
    draft["spec"] |= {"leaseDurationSeconds": goal.duration_seconds, "leaseTransitions": max(highest - begun, 0)}
    for queue in (annotations.get(ANNOTATION_QUEUE, "[]"), "[]"):
        draft["metadata"]["annotations"][ANNOTATION_QUEUE] = queue
        try:
            return decode(draft)
        except MalformedLeaseError:
            continue
    return None


def emptied(lease: Json, goal: Goal, epoch: int) -> LeaseState:
    """The state with nobody in it, which begins anew."""
    state = LeaseState(goal.slots, goal.duration_seconds, goal.active, transitions=highest_fence(lease), bounds=goal.bounds)
    return transitions.begin(state, epoch)


def patience_seconds(lease: Json, goal: Goal | None) -> int:
    """How long a holder that is not known may go on: by what the Lease said, or by what it is to say."""
    said = (lease.get("spec") or {}).get("leaseDurationSeconds")
    durations = [DEFAULT_DURATION_SECONDS, said if isinstance(said, int) else 0, goal.duration_seconds if goal else 0]
    return max(durations)


def highest_fence(lease: Mapping[str, Any]) -> int:
    """The highest number of a grant that can be found."""
    said = (lease.get("spec") or {}).get("leaseTransitions")
    epoch = _epoch(lease)
    counted = epoch + (said if isinstance(said, int) else 0)
    holders = (lease["metadata"].get("annotations") or {}).get(ANNOTATION_HOLDERS, "")
    found = [int(number) for number in _FENCE.findall(holders)]
    return max([counted, *(number for number in found if number <= epoch + MOST_GRANTS), 0])


def _epoch(lease: Mapping[str, Any]) -> int:
    """The fence that it began with, where that can be told."""
    text = str((lease["metadata"].get("annotations") or {}).get(ANNOTATION_EPOCH, ""))
    return int(text) if _WHOLE.fullmatch(text) else 0

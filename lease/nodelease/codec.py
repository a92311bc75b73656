"""A Lease state as the `coordination.k8s.io/v1` Lease that carries it, and back.

Every store keeps this form, so `kubectl get leases` reads well, and what the local store shows is what a cluster shows. Only what belongs
to the contract is read and written; a store merges it into the rest of the object.

    metadata.annotations   imagejob.dev/slots      "2"
                           imagejob.dev/active     "false"      only while the limit is inactive
                           imagejob.dev/holders    [{"slot", "id", "pod", "fence", "beat"}]    one entry for each slot held
                           imagejob.dev/queue      [{"id", "pod", "priority", "slots"}]        slots only if more than one
    spec                   holderIdentity, leaseDurationSeconds, acquireTime, renewTime, leaseTransitions
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, cast

from nodelease.clock import wall_time
from nodelease.constants import ANNOTATION_ACTIVE, ANNOTATION_HOLDERS, ANNOTATION_QUEUE, ANNOTATION_SLOTS, DEFAULT_DURATION_SECONDS
from nodelease.exceptions import MalformedLeaseError
from nodelease.state import Holder, LeaseState, Waiter

_TYPE_NAMES: Final = {int: "a whole number", str: "a string", list: "a list", dict: "an object", bool: "true or false"}


def encode(state: LeaseState) -> dict[str, Any]:
    """The Lease's `metadata.annotations` and `spec`."""
    holders = [
        {"slot": slot, "id": holder.id, "pod": holder.pod, "fence": holder.fence, "beat": holder.beat}
        for holder in state.holders
        for slot in holder.slots
    ]
    queue = [
        {"id": waiter.id, "pod": waiter.pod, "priority": waiter.priority} | ({"slots": waiter.slots} if waiter.slots > 1 else {})
        for waiter in state.queue
    ]
    annotations = {ANNOTATION_SLOTS: str(state.slots), ANNOTATION_HOLDERS: _compact(holders), ANNOTATION_QUEUE: _compact(queue)}
    if not state.active:
        annotations[ANNOTATION_ACTIVE] = "false"
    spec: dict[str, Any] = {"leaseDurationSeconds": state.duration_seconds, "leaseTransitions": state.transitions}
    if state.holders:
        spec["holderIdentity"] = ",".join(holder.pod for holder in state.holders)
    if state.acquire_time is not None:
        spec["acquireTime"] = state.acquire_time
    if state.renew_time is not None:
        spec["renewTime"] = state.renew_time
    return {"metadata": {"annotations": annotations}, "spec": spec}


def decode(lease: object) -> LeaseState:
    """The state that a Lease carries.

    Raises:
        MalformedLeaseError: It does not keep the contract; the message names the field.
    """
    document = _typed(lease, dict, "the Lease")
    annotations = _typed(_typed(document.get("metadata"), dict, "metadata").get("annotations"), dict, "metadata.annotations")
    spec = _typed(document.get("spec"), dict, "spec")
    state = LeaseState(
        slots=_slot_count(annotations),
        duration_seconds=_whole(spec.get("leaseDurationSeconds", DEFAULT_DURATION_SECONDS), "spec.leaseDurationSeconds", least=1),
        active=_active(annotations),
        holders=_holders(_entries(annotations, ANNOTATION_HOLDERS)),
        queue=_queue(_entries(annotations, ANNOTATION_QUEUE)),
        transitions=_whole(spec.get("leaseTransitions", 0), "spec.leaseTransitions"),
        acquire_time=_optional_text(spec, "acquireTime"),
        renew_time=_optional_text(spec, "renewTime"),
    )
    _check(state)
    return state


def stamp(before: LeaseState, after: LeaseState) -> LeaseState:
    """The state with the times of day for people: `acquireTime` if `after` grants anything, `renewTime` if it grants or renews."""
    granted = after.transitions > before.transitions
    beats = {(holder.id, holder.fence): holder.beat for holder in before.holders}
    renewed = any(holder.beat > beats.get((holder.id, holder.fence), 0) for holder in after.holders)
    if not granted and not renewed:
        return after
    time = wall_time()
    return replace(after, acquire_time=time if granted else after.acquire_time, renew_time=time)


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _fail(where: str, expected: str, value: object) -> MalformedLeaseError:
    return MalformedLeaseError(f"{where} must be {expected}, and is {value!r:.200}")


def _typed(value: object, kind: type[Any], where: str) -> Any:  # noqa: ANN401  JSON has no static type
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _fail(where, _TYPE_NAMES[kind], value)
    return value


def _whole(value: object, where: str, least: int = 0) -> int:
    number = cast("int", _typed(value, int, where))
    if number < least:
        raise _fail(where, f"at least {least}", value)
    return number


def _optional_text(spec: Mapping[str, object], key: str) -> str | None:
    return None if spec.get(key) is None else cast("str", _typed(spec[key], str, f"spec.{key}"))


def _slot_count(annotations: Mapping[str, object]) -> int:
    text = annotations.get(ANNOTATION_SLOTS)
    if not isinstance(text, str) or not text.isascii() or not text.isdigit():
        raise _fail(f"annotation {ANNOTATION_SLOTS}", 'a whole number in quotes, as in "2"', text)
    return int(text)


def _active(annotations: Mapping[str, object]) -> bool:
    text = annotations.get(ANNOTATION_ACTIVE, "true")
    if text not in ("true", "false"):
        raise _fail(f"annotation {ANNOTATION_ACTIVE}", '"true" or "false"', text)
    return text == "true"


def _entries(annotations: Mapping[str, object], name: str) -> list[dict[str, object]]:
    where = f"annotation {name}"
    text = _typed(annotations.get(name, "[]"), str, where)
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _fail(where, "JSON", text) from error
    return [_typed(entry, dict, f"{where}[{index}]") for index, entry in enumerate(_typed(entries, list, where))]


def _holders(entries: list[dict[str, object]]) -> tuple[Holder, ...]:
    holders: dict[str, Holder] = {}
    for index, entry in enumerate(entries):
        where = f"annotation {ANNOTATION_HOLDERS}[{index}]"
        holder = Holder(
            id=_typed(entry.get("id"), str, f"{where}.id"),
            pod=_typed(entry.get("pod"), str, f"{where}.pod"),
            fence=_whole(entry.get("fence"), f"{where}.fence", least=1),
            beat=_whole(entry.get("beat"), f"{where}.beat"),
            slots=(_whole(entry.get("slot"), f"{where}.slot"),),
        )
        known = holders.get(holder.id)
        if known is not None and replace(known, slots=holder.slots) != holder:
            raise _fail(where, f"equal to the other entries of {holder.id!r} but for the slot", entry)
        holders[holder.id] = holder if known is None else replace(known, slots=tuple(sorted((*known.slots, *holder.slots))))
    return tuple(holders.values())


def _queue(entries: list[dict[str, object]]) -> tuple[Waiter, ...]:
    waiters = []
    for index, entry in enumerate(entries):
        request, pod, priority = entry.get("id"), entry.get("pod"), entry.get("priority")
        # All who wait read the whole queue at each hand-over: what is well should not take the time to say what might not be.
        if type(request) is str and type(pod) is str and type(priority) is int and "slots" not in entry:
            waiters.append(Waiter(request, pod, priority))
            continue
        where = f"annotation {ANNOTATION_QUEUE}[{index}]"
        waiters.append(
            Waiter(
                id=_typed(entry.get("id"), str, f"{where}.id"),
                pod=_typed(entry.get("pod"), str, f"{where}.pod"),
                priority=_typed(entry.get("priority", 0), int, f"{where}.priority"),
                slots=_whole(entry.get("slots", 1), f"{where}.slots", least=1),
            )
        )
    return tuple(waiters)


def _check(state: LeaseState) -> None:
    """What one entry alone cannot show."""
    ids = [holder.id for holder in state.holders] + [waiter.id for waiter in state.queue]
    if len(set(ids)) != len(ids):
        raise MalformedLeaseError(f"an id stands twice among holders and queue: {sorted(ids)!r:.200}")
    slots = [slot for holder in state.holders for slot in holder.slots]
    if len(set(slots)) != len(slots):
        raise MalformedLeaseError(f"annotation {ANNOTATION_HOLDERS} gives a slot to two holders: {sorted(slots)!r:.200}")
    fences = [holder.fence for holder in state.holders]
    if len(set(fences)) != len(fences) or max(fences, default=0) > state.transitions:
        raise MalformedLeaseError(f"fences {fences!r:.200} must be unique and at most spec.leaseTransitions, {state.transitions}")
    priorities = [waiter.priority for waiter in state.queue]
    if priorities != sorted(priorities, reverse=True):
        raise MalformedLeaseError(f"annotation {ANNOTATION_QUEUE} must stand in order of priority, highest first: {priorities!r:.200}")

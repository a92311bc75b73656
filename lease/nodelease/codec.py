"""A Lease state as the `coordination.k8s.io/v1` Lease that carries it, and back.

Every store keeps this form, so `kubectl get leases` reads well, and what the local store shows is what a cluster shows. Only what belongs
to the contract is read and written; a store merges it into the rest of the object.

    metadata.annotations   imagejob.dev/slots      "2"
                           imagejob.dev/active     "false"      only while the limit is inactive
                           imagejob.dev/epoch       "1764321352000000"   the fence that the Lease began with
                           imagejob.dev/max-hold       "60"     }  how much anybody may ask for, see `bounds`; none: as much as they like
                           imagejob.dev/max-priority   "100"    }
                           imagejob.dev/holders    [{"slot", "id", "pod", "fence", "beat", "granted"}]    one entry for each slot held
                           imagejob.dev/queue      [{"id", "pod", "priority", "slots", "count"}]    slots and count only if more than one

An entry with a count stands for as many requests in a row, whose ids end with the numbers that follow: "a-7" with count 3 is "a-7", "a-8",
"a-9". So what one process wants is one entry, however many workers it has.

A fence is the epoch and the number of the grant (`leaseTransitions`, which has 31 bits) added up.
`granted` stands there until the first renewal: ``<clock>@<seconds>``, when the write of the grant was begun and on which clock.

    spec                   holderIdentity, leaseDurationSeconds, acquireTime, renewTime, leaseTransitions
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, cast

from nodelease.bounds import ANNOTATION_MAX_HOLD, ANNOTATION_MAX_PRIORITY, Bounds
from nodelease.clock import Moment, clock_id, wall_time
from nodelease.constants import (
    ANNOTATION_ACTIVE,
    ANNOTATION_EPOCH,
    ANNOTATION_HOLDERS,
    ANNOTATION_QUEUE,
    ANNOTATION_SLOTS,
    DEFAULT_DURATION_SECONDS,
    MOST_POD,
)
from nodelease.exceptions import MalformedLeaseError
from nodelease.room import LONGEST_REST, MOST_CHARACTERS, MOST_DIGITS, compact, held_entry
from nodelease.runs import packed, run
from nodelease.state import Holder, LeaseState, Waiter

MOST_REQUESTS: Final = 8192
"""In the queue. A few characters can stand for many, and everyone reads them all."""
MOST_ID: Final = 200
"""Characters of an id. One entry of the queue makes thousands of them, so this bounds what a Lease costs whoever reads it: 2.5 MB."""
_SECONDS: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?", re.ASCII)
_SIGNED: Final = re.compile(r"-?[0-9]{1,12}", re.ASCII)
_TYPE_NAMES: Final = {int: "a whole number", str: "a string", list: "a list", dict: "an object", bool: "true or false"}


def encode(state: LeaseState) -> dict[str, Any]:
    """The Lease's `metadata.annotations` and `spec`."""
    holders = [held_entry(holder, slot) for holder in state.holders for slot in holder.slots]
    annotations = {
        ANNOTATION_SLOTS: str(state.slots),
        ANNOTATION_HOLDERS: compact(holders),
        ANNOTATION_QUEUE: compact(packed(state.queue)),
    }
    if not state.active:
        annotations[ANNOTATION_ACTIVE] = "false"
    if state.epoch:
        annotations[ANNOTATION_EPOCH] = str(state.epoch)
    annotations |= state.bounds.encode()
    spec: dict[str, Any] = {"leaseDurationSeconds": state.duration_seconds, "leaseTransitions": state.grants}
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
    epoch = _count(annotations, ANNOTATION_EPOCH) if ANNOTATION_EPOCH in annotations else 0
    state = LeaseState(
        slots=_count(annotations, ANNOTATION_SLOTS),
        duration_seconds=_whole(spec.get("leaseDurationSeconds", DEFAULT_DURATION_SECONDS), "spec.leaseDurationSeconds", least=1),
        active=_active(annotations),
        holders=_holders(_entries(annotations, ANNOTATION_HOLDERS)),
        queue=_queue(_entries(annotations, ANNOTATION_QUEUE)),
        transitions=epoch + _whole(spec.get("leaseTransitions", 0), "spec.leaseTransitions"),
        epoch=epoch,
        acquire_time=_optional_text(spec, "acquireTime"),
        renew_time=_optional_text(spec, "renewTime"),
        bounds=_bounds(annotations),
    )
    _check(state)
    return state


def fits(state: LeaseState) -> bool:
    """Whether a request may be added to make this state: then whatever follows from it, grants and renewals, fits into a Lease, too.

    So nobody who would free a slot is ever refused because of those who wait.
    """
    if len(state.queue) > MOST_REQUESTS:
        return False
    entries: tuple[Holder | Waiter, ...] = (*state.holders, *state.queue)
    wanted = state.held + sum(waiter.slots for waiter in state.queue)
    pods = max((len(compact(pod)) for pod in {entry.pod for entry in entries}), default=0)
    each = LONGEST_REST + max((len(entry.id) for entry in entries), default=0) + 2 * pods
    return len(compact(packed(state.queue))) + min(wanted, max(state.slots, state.held, 1)) * each <= MOST_CHARACTERS


def stamp(before: LeaseState, after: LeaseState, started: float) -> LeaseState:
    """The state with the times of its changes.

    New holders are told when they were granted, at the earliest. For people there are times of day: `acquireTime` if `after` grants
    anything, `renewTime` if it grants or renews.

    Args:
        before: What was read.
        after: What is to be written.
        started: The time before the write is begun (`nodelease.clock`).
    """
    granted = after.transitions > before.transitions
    if granted:
        moment = Moment(clock_id(), math.floor(started * 1e6) / 1e6)
        holders = tuple(replace(holder, granted=moment) if holder.fence > before.transitions else holder for holder in after.holders)
        after = replace(after, holders=holders)
    beats = {(holder.id, holder.fence): holder.beat for holder in before.holders}
    renewed = any(holder.beat > beats.get((holder.id, holder.fence), 0) for holder in after.holders)
    if not granted and not renewed:
        return after
    time = wall_time()
    return replace(after, acquire_time=time if granted else after.acquire_time, renew_time=time)


def _moment(value: object) -> Moment | None:
    """When a holder was granted. What cannot be understood is nothing: then the holder renews before it uses the grant."""
    clock, at, seconds = value.partition("@") if isinstance(value, str) else ("", "", "")
    try:
        moment = Moment(clock, float(seconds))
    except ValueError:
        return None
    return moment if at and math.isfinite(moment.seconds) else None


def _fail(where: str, expected: str, value: object) -> MalformedLeaseError:
    return MalformedLeaseError(f"{where} must be {expected}, and is {value!r:.200}")


def _typed(value: object, kind: type[Any], where: str) -> Any:  # noqa: ANN401  JSON has no static type
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _fail(where, _TYPE_NAMES[kind], value)
    return value


def _name(value: object, where: str, most: int) -> str:
    name = cast("str", _typed(value, str, where))
    if len(name) > most:
        raise _fail(where, f"at most {most} characters", name)
    return name


def _whole(value: object, where: str, least: int = 0) -> int:
    number = cast("int", _typed(value, int, where))
    if number < least:
        raise _fail(where, f"at least {least}", value)
    return number


def _optional_text(spec: Mapping[str, object], key: str) -> str | None:
    return None if spec.get(key) is None else cast("str", _typed(spec[key], str, f"spec.{key}"))


def _count(annotations: Mapping[str, object], name: str) -> int:
    text = annotations.get(name)
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > MOST_DIGITS:
        raise _fail(f"annotation {name}", 'a whole number in quotes, as in "2"', text)
    return int(text)


def _active(annotations: Mapping[str, object]) -> bool:
    text = annotations.get(ANNOTATION_ACTIVE, "true")
    if text not in ("true", "false"):
        raise _fail(f"annotation {ANNOTATION_ACTIVE}", '"true" or "false"', text)
    return text == "true"


def _bounds(annotations: Mapping[str, object]) -> Bounds:
    hold = _optional_number(annotations, ANNOTATION_MAX_HOLD, _SECONDS, 'seconds in quotes, as in "60"')
    priority = _optional_number(annotations, ANNOTATION_MAX_PRIORITY, _SIGNED, 'a whole number in quotes, as in "100"')
    return Bounds(math.inf if hold is None else float(hold), None if priority is None else int(priority))


def _optional_number(annotations: Mapping[str, object], name: str, pattern: re.Pattern[str], expected: str) -> str | None:
    text = annotations.get(name)
    if text is not None and not (isinstance(text, str) and pattern.fullmatch(text)):
        raise _fail(f"annotation {name}", expected, text)
    return text


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
            id=_name(entry.get("id"), f"{where}.id", MOST_ID),
            pod=_name(entry.get("pod"), f"{where}.pod", MOST_POD),
            fence=_whole(entry.get("fence"), f"{where}.fence", least=1),
            beat=_whole(entry.get("beat"), f"{where}.beat"),
            slots=(_whole(entry.get("slot"), f"{where}.slot"),),
            granted=_moment(entry.get("granted")),
        )
        known = holders.get(holder.id)
        if known is not None and replace(known, slots=holder.slots) != holder:
            raise _fail(where, f"equal to the other entries of {holder.id!r} but for the slot", entry)
        holders[holder.id] = holder if known is None else replace(known, slots=tuple(sorted((*known.slots, *holder.slots))))
    return tuple(holders.values())


def _queue(entries: list[dict[str, object]]) -> tuple[Waiter, ...]:
    waiters: list[Waiter] = []
    for index, entry in enumerate(entries):
        request, pod, priority = entry.get("id"), entry.get("pod"), entry.get("priority")
        # All who wait read the whole queue at each hand-over: what is well should not take the time to say what might not be.
        if (
            (type(request) is str and len(request) <= MOST_ID)
            and (type(pod) is str and len(pod) <= MOST_POD)
            and (type(priority) is int and "slots" not in entry and "count" not in entry)
        ):
            waiters.append(Waiter(request, pod, priority))
            continue
        where = f"annotation {ANNOTATION_QUEUE}[{index}]"
        waiter = Waiter(
            id=_name(entry.get("id"), f"{where}.id", MOST_ID),
            pod=_name(entry.get("pod"), f"{where}.pod", MOST_POD),
            priority=_typed(entry.get("priority", 0), int, f"{where}.priority"),
            slots=_whole(entry.get("slots", 1), f"{where}.slots", least=1),
        )
        count = _whole(entry.get("count", 1), f"{where}.count", least=1)
        if len(waiters) + count > MOST_REQUESTS:
            raise MalformedLeaseError(f"annotation {ANNOTATION_QUEUE} must stand for at most {MOST_REQUESTS} requests")
        ids = run(waiter.id, count) if count > 1 else [waiter.id]
        if not ids:
            raise _fail(f"{where}.id", "one that ends with a number, since it has a count", waiter.id)
        _name(ids[-1], f"the last id of {where}", MOST_ID)
        waiters += [Waiter(each, waiter.pod, waiter.priority, waiter.slots) for each in ids]
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
        raise MalformedLeaseError(f"fences {fences!r:.200} must be unique and at most epoch and leaseTransitions, {state.transitions}")
    priorities = [waiter.priority for waiter in state.queue]
    if priorities != sorted(priorities, reverse=True):
        raise MalformedLeaseError(f"annotation {ANNOTATION_QUEUE} must stand in order of priority, highest first: {priorities!r:.200}")

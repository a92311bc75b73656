"""Judges the history of Leases, revision by revision, by the contract alone and not by the code that keeps it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nodelease.codec import decode
from nodelease.exceptions import MalformedLeaseError
from nodelease.kubernetes.names import LABEL_NODE
from nodelease.state import Holder, LeaseState, Waiter


@dataclass
class Track:
    """What is remembered of one Lease."""

    uid: str
    state: LeaseState
    revisions: int = 1
    """Seen so far, the first one included."""


@dataclass
class LeaseJudge:
    """Takes in revisions in the order in which they were made, and remembers what was wrong."""

    unqueued_priority: int | None = 0
    """Priority of those who are granted slots without having been seen in the queue, where it does not show. None: any."""
    problems: list[str] = field(default_factory=list)
    tracks: dict[str, Track] = field(default_factory=dict)
    """By the Lease's name."""
    members: set[tuple[str, str]] = field(default_factory=set)
    """All who ever held or waited: node of the Lease, pod."""
    fences: dict[str, int] = field(default_factory=dict)
    """By name: the highest fence of a Lease that is gone."""
    judged: int = 0
    """Revisions of all Leases so far."""

    def revision(self, lease: Mapping[str, Any], *, after_gap: bool = False) -> None:
        """A revision of a Lease.

        Args:
            lease: The object.
            after_gap: Others may have come before it that were not seen. Then only what one revision shows by itself is judged, and what
                any number of writes must keep: not who came before whom.
        """
        self.judged += 1
        metadata = lease["metadata"]
        name, where = metadata["name"], f"Lease {metadata['name']} at {metadata['resourceVersion']}"
        try:
            state = decode(lease)
        except MalformedLeaseError as error:
            self.problems.append(f"{where}: {error}")
            return
        self.members |= {(metadata["labels"].get(LABEL_NODE, ""), entry.pod) for entry in (*state.holders, *state.queue)}
        known = self.tracks.get(name)
        found = list(_by_itself(state))
        if known is None or known.uid != metadata["uid"]:
            before = self.fences.get(name, 0) if known is None else known.state.transitions
            if state.epoch and state.epoch < before:
                found.append(f"it was made again, and its fences begin at {state.epoch} after {before}")
            self.tracks[name] = Track(metadata["uid"], state)
        else:
            found += _across_gap(known.state, state) if after_gap else _step(known.state, state, self.unqueued_priority)
            known.state = state
            known.revisions += 1
        self.problems += [f"{where}: {problem}" for problem in found]

    def deleted(self, lease: Mapping[str, Any]) -> None:
        """A Lease has gone."""
        name = lease["metadata"]["name"]
        known = self.tracks.pop(name, None)
        if known is not None:
            self.fences[name] = known.state.transitions


def _by_itself(state: LeaseState) -> Iterator[str]:
    """What may be true of no revision. That no id and no slot stands twice is looked at when it is decoded."""
    held = sum(len(holder.slots) for holder in state.holders)
    room = (state.slots if state.active else 0) - held
    head = next((waiter for waiter in state.queue if waiter.slots <= state.slots), None)
    if head is not None and head.slots <= room:
        yield f"{room} slots are free and {head.id} waits"


def _step(before: LeaseState, after: LeaseState, unqueued_priority: int | None) -> Iterator[str]:
    """What may be true of no write."""
    granted = _granted(before, after)
    yield from _set_back(before, after)
    yield from _too_many(granted, after)
    yield from _old_fences(granted, before)
    yield from _out_of_turn(granted, before, after, unqueued_priority)
    yield from _jumped_the_queue(before, after)


def _across_gap(before: LeaseState, after: LeaseState) -> Iterator[str]:
    """What may be true of no sequence of writes. Slots that are as many as before were so all the time: no test changes them meanwhile."""
    granted = _granted(before, after)
    yield from _set_back(before, after)
    yield from _old_fences(granted, before)
    if (before.slots, before.active) == (after.slots, after.active):
        yield from _too_many(granted, after)


def _granted(before: LeaseState, after: LeaseState) -> list[Holder]:
    known = {(holder.id, holder.fence) for holder in before.holders}
    return sorted((holder for holder in after.holders if (holder.id, holder.fence) not in known), key=lambda holder: holder.fence)


def _set_back(before: LeaseState, after: LeaseState) -> Iterator[str]:
    if after.transitions < before.transitions:
        yield f"the fence went back from {before.transitions} to {after.transitions}"


def _too_many(granted: list[Holder], after: LeaseState) -> Iterator[str]:
    """Those who held before a limit shrank may go on; nobody may begin."""
    held = sum(len(holder.slots) for holder in after.holders)
    capacity = after.slots if after.active else 0
    if granted and held > capacity:
        yield f"{held} slots are held of {capacity}, and {[holder.id for holder in granted]} were granted"
    beyond = [holder.id for holder in granted if max(holder.slots) >= after.slots]
    if beyond:
        yield f"{beyond} were granted slots that there are not"


def _old_fences(granted: list[Holder], before: LeaseState) -> Iterator[str]:
    old = [f"{holder.id} {holder.fence}" for holder in granted if holder.fence <= before.transitions]
    if old:
        yield f"fences of new grants must be above {before.transitions}: {old}"


def _out_of_turn(granted: list[Holder], before: LeaseState, after: LeaseState, unqueued_priority: int | None) -> Iterator[str]:
    """Nobody is granted a slot while somebody ahead goes on waiting."""
    places = {waiter.id: place for place, waiter in enumerate(before.queue)}
    for holder in granted:
        if holder.id in places:
            ahead = before.queue[: places[holder.id]]
        else:
            ahead = tuple(other for other in before.queue if unqueued_priority is not None and other.priority >= unqueued_priority)
        passed_over = [other.id for other in ahead if after.waiter(other.id) is not None and other.slots <= after.slots]
        if passed_over:
            yield f"{holder.id} was granted a slot before {passed_over}"
    queued = [places[holder.id] for holder in granted if holder.id in places]
    if queued != sorted(queued):
        yield f"{[holder.id for holder in granted]} were granted slots in another order than they stood in the queue"


def _jumped_the_queue(before: LeaseState, after: LeaseState) -> Iterator[str]:
    """Those who stay keep their order, and those who come stand behind all of the same or a higher priority."""
    order = {waiter.id: place for place, waiter in enumerate(before.queue)}
    stayed = [waiter.id for waiter in after.queue if waiter.id in order]
    if stayed != sorted(stayed, key=order.__getitem__):
        yield f"the queue was {list(order)} and its rest is {stayed}"
    newcomers: list[Waiter] = []
    for waiter in after.queue:
        if waiter.id not in order:
            newcomers.append(waiter)
        else:
            jumped = [newcomer.id for newcomer in newcomers if newcomer.priority <= waiter.priority]
            if jumped:
                yield f"{jumped} came later than {waiter.id} and stand before it"

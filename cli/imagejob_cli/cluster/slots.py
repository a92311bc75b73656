"""Who holds the slots of each node, and who waits: what the Leases say, with those that cannot be read set aside."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from imagejob_cli.wording import printable
from nodelease import LeaseState, MalformedLeaseError
from nodelease.kubernetes.names import LABEL_LIMIT, LABEL_NODE
from nodelease.kubernetes.objects import read_lease

_POD_SUFFIX: Final = r"-\d+-[a-z0-9]+"
"""What Kubernetes appends to a Job's name for the pod of an index."""


@dataclass(frozen=True, slots=True)
class NodeSlots:
    """A limit on a node."""

    limit: str
    node: str
    state: LeaseState | None
    """What the Lease says; None if it cannot be read."""
    problem: str = ""
    """Why not."""

    @classmethod
    def of(cls, lease: Mapping[str, Any]) -> Self:
        """Reads a Lease as the API server gives it."""
        labels = (lease.get("metadata") or {}).get("labels") or {}
        limit, node = str(labels.get(LABEL_LIMIT, "")), str(labels.get(LABEL_NODE, ""))
        try:
            return cls(limit, node, read_lease(lease, limit, node).state)
        except MalformedLeaseError as error:
            return cls(limit, node, None, str(error))


@dataclass(frozen=True, slots=True)
class Share:
    """What some job has of a node's slots."""

    held: int
    """Slots that its pods hold."""
    places: tuple[int, ...]
    """Places of its pods in the queue, counted from 1: 1 is next."""


def read_slots(leases: Iterable[Mapping[str, Any]]) -> list[NodeSlots]:
    """All that is known, by limit and node."""
    return sorted((NodeSlots.of(lease) for lease in leases), key=lambda slots: (slots.limit, slots.node))


def share_of(state: LeaseState, namespace: str, job: str) -> Share:
    """What a job's pods have of these slots; pods are told by their names, `<job>-<index>-<random>`."""
    pod = re.compile(re.escape(f"{namespace}/{job}") + _POD_SUFFIX)
    held = sum(len(holder.slots) for holder in state.holders if pod.fullmatch(holder.pod))
    return Share(held, tuple(place for place, waiter in enumerate(state.queue, start=1) if pod.fullmatch(waiter.pod)))


def slots_words(slots: NodeSlots) -> str:
    """`2/2 held, 3 waiting`, or why that cannot be said."""
    if slots.state is None:
        return f"the Lease cannot be read: {printable(slots.problem)}"
    active = "" if slots.state.active else ", not active"
    return f"{slots.state.held}/{slots.state.slots} held, {len(slots.state.queue)} waiting{active}"

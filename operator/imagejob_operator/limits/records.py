"""A Lease as it was seen last."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from imagejob_operator.limits.facts import MOST_SLOTS, Json, Pair
from nodelease.codec import decode
from nodelease.constants import ANNOTATION_HOLDERS, ANNOTATION_QUEUE, ANNOTATION_SLOTS
from nodelease.exceptions import InvalidRequestError, MalformedLeaseError
from nodelease.kubernetes.names import GPU, LABEL_LIMIT, LABEL_MANAGED_BY, LABEL_NODE, MANAGED_BY, lease_labels, lease_name
from nodelease.state import LeaseState


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """One version of a Lease."""

    pair: Pair
    """Limit and node that it is of."""
    lease: Json
    """The object."""
    seen_at: float
    """When this version was seen first (`nodelease.clock`)."""
    state: LeaseState | None
    """What it says; None if it does not keep the contract."""
    problem: str = ""
    """Why there is no state."""
    pods: frozenset[str] = field(default=frozenset())
    """Those in its entries, as `namespace/name`."""

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.lease["metadata"]["name"])

    @property
    def uid(self) -> str:
        """Its uid."""
        return str(self.lease["metadata"]["uid"])

    @property
    def version(self) -> int:
        """Its resourceVersion, which grows."""
        return int(self.lease["metadata"]["resourceVersion"])

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self.lease["metadata"].get("labels") or {}

    @property
    def labelled(self) -> bool:
        """Whether its labels say what it is."""
        limit, node = self.pair
        return lease_labels(limit, node).items() <= self.labels.items()

    @property
    def owned_by_node(self) -> bool:
        """Whether it goes with a Node object, whichever."""
        return any(owner.get("kind") == "Node" for owner in self.lease["metadata"].get("ownerReferences") or ())


def read_record(lease: Json, pair: Pair, seen_at: float) -> LeaseRecord:
    """What a Lease says that is of this pair."""
    try:
        state = decode(lease)
    except (MalformedLeaseError, ValueError) as error:  # Python refuses to read numbers of thousands of digits
        return LeaseRecord(pair, lease, seen_at, None, str(error))
    if state.slots > MOST_SLOTS:
        return LeaseRecord(pair, lease, seen_at, None, f"annotation {ANNOTATION_SLOTS} must be at most {MOST_SLOTS}, and is {state.slots}")
    pods = frozenset([holder.pod for holder in state.holders] + [waiter.pod for waiter in state.queue])
    return LeaseRecord(pair, lease, seen_at, state, pods=pods)


def pair_of(lease: Json, limits: Container[str], nodes: Container[str]) -> Pair | None:
    """The limit and the node that a Lease is of: by its labels, or by its name where those have been spoilt; None if it is of none."""
    metadata = lease["metadata"]
    labels = metadata.get("labels") or {}
    name = str(metadata["name"])
    labelled = (labels.get(LABEL_LIMIT), labels.get(LABEL_NODE))
    if labelled[0] and labelled[1] and _called(labelled[0], labelled[1], name):
        return labelled[0], labelled[1]
    limit, _, node = name.partition(".")
    return next((pair for pair in ((GPU, name), (limit, node)) if pair[0] in limits and pair[1] in nodes), None)


def _called(limit: str, node: str, name: str) -> bool:
    try:
        return lease_name(limit, node) == name
    except InvalidRequestError:
        return False


def is_ours(lease: Json) -> bool:
    """Whether a Lease was made by an operator, or at least speaks of slots; any other one belongs to somebody else."""
    metadata = lease["metadata"]
    annotations: Mapping[str, Any] = metadata.get("annotations") or {}
    ours = any(name in annotations for name in (ANNOTATION_SLOTS, ANNOTATION_HOLDERS, ANNOTATION_QUEUE))
    return ours or (metadata.get("labels") or {}).get(LABEL_MANAGED_BY) == MANAGED_BY

"""Leases as JSON objects of the API server, to states and back. Pure; `codec` knows the part that is the contract's.

The operator makes Leases with `new_lease` and changes them with `read_lease`, a transition and `merged`, as the store does.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from nodelease.bounds import ANNOTATIONS as BOUNDS
from nodelease.codec import decode, encode
from nodelease.constants import ANNOTATION_ACTIVE, ANNOTATION_EPOCH, ANNOTATION_HOLDERS, ANNOTATION_QUEUE, ANNOTATION_SLOTS
from nodelease.exceptions import MalformedLeaseError
from nodelease.kubernetes.names import LABEL_LIMIT, LABEL_NODE, lease_labels, lease_name
from nodelease.state import LeaseState
from nodelease.store import Snapshot

API_VERSION: Final = "coordination.k8s.io/v1"
KIND: Final = "Lease"

_ANNOTATIONS: Final = frozenset({ANNOTATION_SLOTS, ANNOTATION_ACTIVE, ANNOTATION_EPOCH, ANNOTATION_HOLDERS, ANNOTATION_QUEUE, *BOUNDS})
_FIELDS: Final = frozenset({"holderIdentity", "leaseDurationSeconds", "acquireTime", "renewTime", "leaseTransitions"})


def read_lease(lease: Mapping[str, Any], limit: str, node: str) -> Snapshot:
    """What a Lease says, and its resourceVersion.

    Args:
        lease: The object, as the API server gives it.
        limit: What it must be a Lease of.
        node: Of which node.

    Raises:
        MalformedLeaseError: Its labels say that it is another's, or it does not keep the contract.
    """
    labels = lease["metadata"].get("labels") or {}
    for label, value in ((LABEL_LIMIT, limit), (LABEL_NODE, node)):
        if labels.get(label) != value:
            raise MalformedLeaseError(f"label {label} must be {value!r}, and is {labels.get(label)!r}")
    return Snapshot(lease_version(lease), decode(lease))


def lease_version(lease: Mapping[str, Any]) -> str:
    """Its resourceVersion."""
    return cast("str", lease["metadata"]["resourceVersion"])


def merged(lease: Mapping[str, Any], state: LeaseState) -> dict[str, Any]:
    """The Lease with another state, to be written over it: everything that is not the contract's stays, the resourceVersion included."""
    new = encode(state)
    metadata = {key: value for key, value in lease["metadata"].items() if key != "managedFields"}  # the API server keeps account itself
    annotations = _without(metadata.get("annotations"), _ANNOTATIONS) | new["metadata"]["annotations"]
    return {**lease, "metadata": metadata | {"annotations": annotations}, "spec": _without(lease.get("spec"), _FIELDS) | new["spec"]}


def new_lease(limit: str, node: str, *, node_uid: str, namespace: str, state: LeaseState) -> dict[str, Any]:
    """A Lease to be created, owned by its Node so that it goes with it.

    Raises:
        InvalidRequestError: The limit or the node cannot have one.
    """
    metadata = {
        "name": lease_name(limit, node),
        "namespace": namespace,
        "labels": lease_labels(limit, node),
        "ownerReferences": [node_owner(node, node_uid)],
    }
    new = encode(state)
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata | new["metadata"], "spec": new["spec"]}


def node_owner(node: str, uid: str) -> dict[str, Any]:
    """The owner reference of what goes with a Node."""
    return {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid, "controller": False, "blockOwnerDeletion": False}


def _without(fields: Mapping[str, Any] | None, names: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in (fields or {}).items() if key not in names}

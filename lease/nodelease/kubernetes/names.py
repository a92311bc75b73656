"""What the Leases of a cluster are called, and what a pod finds in its environment.

The operator, which makes the Leases, and the store, which uses them, both go by this.
"""

from typing import Final

from nodelease.constants import LIMIT_NAME
from nodelease.exceptions import InvalidRequestError

LABEL_NODE: Final = "imagejob.dev/node"
"""On a Lease: its node. The admission policy compares it with the node of the pod that writes."""
LABEL_LIMIT: Final = "imagejob.dev/limit"
"""On a Lease: its limit."""
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "imagejob"

GPU: Final = "gpu"
"""The limit whose Leases have the names of their nodes."""

ENV_LEASE_NAMESPACE: Final = "IMAGEJOB_LEASE_NAMESPACE"
"""Where the Leases are: the operator's namespace."""
ENV_NODE: Final = "IMAGEJOB_NODE_NAME"
"""The node that the pod runs on, from the downward API."""
ENV_POD_NAMESPACE: Final = "IMAGEJOB_POD_NAMESPACE"
ENV_POD_NAME: Final = "IMAGEJOB_POD_NAME"
ENV_CONTAINER: Final = "IMAGEJOB_CONTAINER"
"""The container's name, where a pod has several: need not be told."""

LABEL_LENGTH: Final = 63
"""Of the value of a label."""


def lease_name(limit: str, node: str) -> str:
    """Name of the Lease of a limit on a node.

    Two pairs can have one name (the GPU of a node ``a.b``, and the limit ``a`` of a node ``b``), so the labels say which pair a Lease is
    of, and are checked.

    Raises:
        InvalidRequestError: No Lease can be called so, or have these labels.
    """
    if LIMIT_NAME.fullmatch(limit) is None:
        raise InvalidRequestError(f"{limit!r} is not the name of a limit")
    if not 0 < len(node) <= LABEL_LENGTH:
        raise InvalidRequestError(
            f"the name of a node with limits has 1 to {LABEL_LENGTH} characters, as the value of a label, not {node!r}"
        )
    return node if limit == GPU else f"{limit}.{node}"


def lease_labels(limit: str, node: str) -> dict[str, str]:
    """Labels of the Lease of a limit on a node."""
    return {LABEL_LIMIT: limit, LABEL_MANAGED_BY: MANAGED_BY, LABEL_NODE: node}

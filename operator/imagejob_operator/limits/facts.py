"""What the operator needs to know of NodeLimits and Nodes, and what follows for the Lease of a limit on a node."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from imagejob_api.nodelimit import NodeLimitSpec
from nodelease.bounds import UNBOUNDED, Bounds
from nodelease.kubernetes.names import LABEL_LENGTH

Json = Mapping[str, Any]
Pair = tuple[str, str]
"""A limit and a node."""

GPU_COUNT_LABEL: Final = "nvidia.com/gpu.count"
"""GPUs of a node, by NVIDIA's feature discovery; time-slicing does not change it."""
GPU_REPLICAS_LABEL: Final = "nvidia.com/gpu.replicas"
"""How many times each GPU is offered, by NVIDIA's feature discovery."""
GPU_RESOURCES: Final = ("nvidia.com/gpu", "nvidia.com/gpu.shared")
"""What a node offers GPUs as; the second where the device plugin renames those it shares (`renameByDefault`)."""
MOST_SLOTS: Final = 1024
"""As in the NodeLimit's schema."""


class InvalidLimitError(ValueError):
    """A NodeLimit cannot be understood."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A Node, as far as limits depend on it. Two of the same Node are equal unless something changed that matters."""

    name: str
    uid: str
    labels: Mapping[str, str]
    devices: int
    """GPUs, at least 1."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A NodeLimit."""

    name: str
    uid: str
    generation: int
    spec: NodeLimitSpec
    overrides: Mapping[str, int]
    """Slots by node."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What the Lease of a limit on a node is to say."""

    slots: int
    active: bool
    duration_seconds: int
    bounds: Bounds = UNBOUNDED


def read_node(node: Json) -> NodeFacts:
    """The facts of a Node."""
    metadata = node["metadata"]
    labels = metadata.get("labels") or {}
    return NodeFacts(metadata["name"], metadata["uid"], labels, gpu_devices(labels, (node.get("status") or {}).get("allocatable") or {}))


def gpu_devices(labels: Mapping[str, str], allocatable: Mapping[str, str]) -> int:
    """GPUs of a node, however many times each is offered; 1 where there is none, for the CPU does the work then."""
    counted = _whole(labels.get(GPU_COUNT_LABEL))
    if counted:
        return counted
    offered = max(_whole(allocatable.get(resource)) for resource in GPU_RESOURCES)
    return max(1, offered // max(1, _whole(labels.get(GPU_REPLICAS_LABEL))))


def read_limit(limit: Json) -> Limit:
    """The facts of a NodeLimit.

    Raises:
        InvalidLimitError: It is not one, though the API server took it; its schema must be another version's.
    """
    metadata = limit["metadata"]
    try:
        spec = NodeLimitSpec.model_validate(limit.get("spec"))
    except ValidationError as error:
        raise InvalidLimitError("; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())) from error
    overrides = {override.node: override.slots for override in spec.overrides}
    return Limit(metadata["name"], metadata["uid"], metadata["generation"], spec, overrides)


def goal_of(limit: Limit, node: NodeFacts) -> Goal | None:
    """What the limit's Lease on the node is to say; None where the node does not have the limit."""
    spec = limit.spec
    if any(node.labels.get(label) != value for label, value in spec.node_selector.items()) or len(node.name) > LABEL_LENGTH:
        return None
    slots = limit.overrides.get(node.name)
    if slots is None:
        slots = spec.slots if spec.slots is not None else (spec.slots_per_device or 0) * node.devices
    return Goal(min(slots, MOST_SLOTS), spec.active, spec.lease_duration_seconds, Bounds(spec.max_hold_seconds, spec.max_priority))


def _whole(text: str | None) -> int:
    """A number that a label or a quantity of an extended resource gives; 0 if it gives none."""
    return min(int(text), MOST_SLOTS) if text is not None and len(text) <= 9 and text.isascii() and text.isdigit() else 0  # noqa: PLR2004

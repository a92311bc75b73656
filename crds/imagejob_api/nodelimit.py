"""NodeLimit: a named resource with slots on every node."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from imagejob_api.base import ApiModel
from imagejob_api.meta import ClusterMetadata, Resource


class NodeOverride(ApiModel):
    """Slots of one node that differ from the rest."""

    node: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the node."""
    slots: Annotated[int, Field(ge=0, le=1024)]
    """Slots on that node."""


class NodeLimitSpec(ApiModel):
    """How many may use a resource of a node at once."""

    slots: Annotated[int, Field(ge=0, le=1024)] | None = None
    """Slots on each node."""
    slots_per_device: Annotated[int, Field(ge=1, le=64)] | None = None
    """Slots for each GPU of a node; a node without a GPU counts as one device."""
    node_selector: Annotated[dict[str, str], Field(max_length=32)] = {}
    """Labels that a node must carry; all nodes unless set."""
    overrides: Annotated[list[NodeOverride], Field(max_length=1000)] = []
    """Nodes with another number of slots."""
    lease_duration_seconds: Annotated[int, Field(ge=2, le=3600)] = 30
    """Seconds without a renewal after which a holder is taken for dead."""
    active: bool = True
    """False lets nobody start to use the resource; those who use it finish."""

    @model_validator(mode="after")
    def _one_count(self) -> Self:
        if (self.slots is None) == (self.slots_per_device is None):
            raise ValueError("set exactly one of slots and slotsPerDevice")
        nodes = [override.node for override in self.overrides]
        if len(set(nodes)) != len(nodes):
            raise ValueError("overrides: each node may stand once")
        return self


class NodeLimitStatus(ApiModel):
    """What the operator sees of the limit."""

    observed_generation: int = -1
    """Generation of the spec that this status belongs to."""
    nodes: int = 0
    """Nodes that have the limit."""
    slots: int = 0
    """Slots on all of them."""
    held: int = 0
    """Slots in use."""
    waiting: int = 0
    """Requests in the queues."""


class NodeLimit(Resource):
    """A named per-node resource with slots: a GPU, a licence, a disk, a local service."""

    kind: Literal["NodeLimit"] = "NodeLimit"
    """Always NodeLimit."""
    metadata: ClusterMetadata
    """Name, labels and annotations."""
    spec: NodeLimitSpec
    """How many may use the resource at once."""
    status: NodeLimitStatus | None = None
    """Written by the operator."""

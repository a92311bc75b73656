"""NodeLimit: a named resource with slots on every node."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from imagejob_api.base import NAME_PATTERN, ApiModel, Duration, Name, duration_seconds
from imagejob_api.constants import MAX_PRIORITY
from imagejob_api.meta import ClusterMetadata, Resource
from imagejob_api.rules import ListMap, Rule, exactly_one


class NodeLimitMetadata(ClusterMetadata):
    """Metadata of a NodeLimit, whose name becomes a label and a part of its Leases' names."""

    name: Name
    """Name of the limit, as steps name it."""


class NodeOverride(ApiModel):
    """Slots of one node that differ from the rest."""

    node: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the node."""
    slots: Annotated[int, Field(ge=0, le=1024)]
    """Slots on that node."""


class NodeLimitSpec(ApiModel):
    """How many may use a resource of a node at once."""

    RULES: ClassVar = (exactly_one("slots", "slotsPerDevice"),)

    slots: Annotated[int, Field(ge=0, le=1024)] | None = None
    """Slots on each node."""
    slots_per_device: Annotated[int, Field(ge=1, le=64)] | None = None
    """Slots for each GPU of a node, however many times the node offers it; a node without a GPU counts as one with one GPU."""
    node_selector: Annotated[dict[str, str], Field(max_length=32)] = Field(default_factory=dict)
    """Labels that a node must carry to have the limit; all nodes unless set. Jobs that take the limit are placed on these nodes."""
    overrides: Annotated[list[NodeOverride], Field(max_length=1000), ListMap("node")] = Field(default_factory=list)
    """Nodes with another number of slots, by name."""
    lease_duration_seconds: Annotated[int, Field(ge=2, le=3600)] = 30
    """Seconds without a renewal after which a holder is taken for dead."""
    max_hold: Duration = "1m"
    """Longest `hold` of a step: one that asks for more gets this much, and its ImageJob says so in a condition."""
    max_priority: Annotated[int, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)] = MAX_PRIORITY
    """Highest priority in the queues of this limit: a job that asks for more gets this one, and says so in a condition."""
    active: bool = True
    """False lets nobody start to use the resource; those who use it finish."""

    @property
    def max_hold_seconds(self) -> float:
        """`maxHold` in seconds."""
        return duration_seconds(self.max_hold)


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

    RULES: ClassVar = (
        Rule(
            message="metadata.name must be lower-case letters, digits and dashes, at most 63, because it becomes a label of Leases",
            cel=f'self.metadata.name.size() <= 63 && self.metadata.name.matches("{NAME_PATTERN}")',
            field_path=".metadata.name",
        ),
    )

    kind: Literal["NodeLimit"] = "NodeLimit"
    """Always NodeLimit."""
    metadata: NodeLimitMetadata
    """Name, labels and annotations."""
    spec: NodeLimitSpec
    """How many may use the resource at once."""
    status: NodeLimitStatus | None = None
    """Written by the operator."""

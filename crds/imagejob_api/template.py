"""What a user may choose about a job's pods: the accelerator, and an allow-list of the fields of a pod."""

import re
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from imagejob_api.base import ApiModel, JsonObject
from imagejob_api.constants import DEFAULT_GPU_RESOURCE
from imagejob_api.rules import ListMap, Rule, exactly_one

_QUANTITY_PATTERN: Final = r"^[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?[0-9]+))?$"

_Reference = Annotated[str, Field(min_length=1, max_length=253)]


def _quantity(value: object) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(_QUANTITY_PATTERN, value):
        return value
    hint = f'; put it in quotes: "{value:g}"' if isinstance(value, float) else ""
    raise ValueError(f"must be a quantity such as 2, 500m or 4Gi{hint}")


Quantity = Annotated[
    str | int,
    PlainValidator(_quantity),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True, "pattern": _QUANTITY_PATTERN}),
]
"""An amount as Kubernetes writes it: ``2``, ``500m``, ``4Gi``."""


class GpuSharing(StrEnum):
    """How pods come to the node's GPU."""

    DEVICE = "device"
    CLAIM = "claim"
    NONE = "none"


class Gpu(ApiModel):
    """The accelerator that each pod asks for."""

    RULES: ClassVar = (
        Rule(
            message="claimName goes with sharing: claim, and sharing: claim needs it",
            cel='has(self.claimName) == (has(self.sharing) && self.sharing == "claim")',
            holds=lambda gpu: (gpu.claim_name is not None) == (gpu.sharing is GpuSharing.CLAIM),
        ),
    )

    sharing: GpuSharing = GpuSharing.DEVICE
    """device asks for an extended resource, claim for a ResourceClaim, none for nothing."""
    resource_name: Annotated[str, Field(min_length=1, max_length=317)] = DEFAULT_GPU_RESOURCE
    """Extended resource, with sharing: device."""
    count: Annotated[int, Field(ge=1, le=64)] = 1
    """How many of it."""
    claim_name: _Reference | None = None
    """ResourceClaim, with sharing: claim."""
    runtime_class_name: _Reference | None = None
    """RuntimeClass of the pods."""


class ResourceRequirements(ApiModel):
    """Requests and limits of the runner container, as in Kubernetes."""

    requests: Annotated[dict[str, Quantity], Field(max_length=32)] = Field(default_factory=dict)
    """What is reserved."""
    limits: Annotated[dict[str, Quantity], Field(max_length=32)] = Field(default_factory=dict)
    """What is allowed."""


class Toleration(ApiModel):
    """Lets pods onto nodes that carry a taint, as in Kubernetes."""

    key: Annotated[str, Field(max_length=317)] | None = None
    """Key of the taint; every key unless set."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Exists takes any value of the key, Equal the one in `value`."""
    value: Annotated[str, Field(max_length=63)] | None = None
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; every effect unless set."""
    toleration_seconds: int | None = None
    """How long pods stay after a NoExecute taint appears; for ever unless set."""


class EnvVar(ApiModel):
    """An environment variable, as in Kubernetes."""

    RULES: ClassVar = (
        Rule(
            message="set value or valueFrom, not both",
            cel="!has(self.value) || !has(self.valueFrom)",
            holds=lambda variable: variable.value is None or variable.value_from is None,
        ),
    )

    name: Annotated[str, Field(min_length=1, max_length=256)]
    """Name of the variable."""
    value: Annotated[str, Field(max_length=32768)] | None = None
    """Its value."""
    value_from: JsonObject | None = None
    """Where its value is: secretKeyRef, configMapKeyRef, fieldRef or resourceFieldRef."""


_VOLUME_KINDS: Final = (
    "persistentVolumeClaim",
    "configMap",
    "secret",
    "emptyDir",
    "ephemeral",
    "csi",
    "projected",
    "downwardAPI",
)


class Volume(ApiModel):
    """A volume of one of the kinds that Pod Security's restricted profile allows, each as in Kubernetes."""

    RULES: ClassVar = (
        Rule(
            message="hostPath is not allowed; use a persistentVolumeClaim, a configMap or an emptyDir",
            cel="!has(self.hostPath)",
            holds=lambda volume: volume.host_path is None,
            field_path=".hostPath",
        ),
        exactly_one(*_VOLUME_KINDS),
    )

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """Name of the volume, for `volumeMounts`."""
    persistent_volume_claim: JsonObject | None = None
    """A PersistentVolumeClaim in the same namespace."""
    config_map: JsonObject | None = None
    """A ConfigMap in the same namespace."""
    secret: JsonObject | None = None
    """A Secret in the same namespace."""
    empty_dir: JsonObject | None = None
    """An empty folder that goes with the pod."""
    ephemeral: JsonObject | None = None
    """A claim that is made for the pod and goes with it."""
    csi: JsonObject | None = None
    """A volume of a CSI driver."""
    projected: JsonObject | None = None
    """Several sources in one folder."""
    downward_api: JsonObject | None = Field(default=None, alias="downwardAPI")
    """Facts about the pod."""
    host_path: JsonObject | None = None
    """Always refused: it would open the node's files to whoever may create an ImageJob."""


class VolumeMount(ApiModel):
    """Where a volume appears in the runner's container, as in Kubernetes."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """Name of the volume."""
    mount_path: Annotated[str, Field(min_length=1, max_length=4096)]
    """Folder in the container."""
    sub_path: Annotated[str, Field(max_length=4096)] | None = None
    """Folder in the volume; its root unless set."""
    read_only: bool = False
    """True forbids writing."""


class SecretReference(ApiModel):
    """A Secret in the same namespace."""

    name: _Reference
    """Name of the Secret."""


class Template(ApiModel):
    """What a user may choose about the pods."""

    image: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """Image of the pods, with imagejob-runner in it; the installation's own unless set."""
    resources: ResourceRequirements = ResourceRequirements()
    """CPU, memory and other resources of the pods; the GPU is in `gpu`."""
    node_selector: Annotated[dict[str, str], Field(max_length=32)] = Field(default_factory=dict)
    """Labels that the node must carry, besides those of the limits that the steps take."""
    tolerations: Annotated[list[Toleration], Field(max_length=64)] = Field(default_factory=list)
    """Taints that pods put up with."""
    affinity: JsonObject | None = None
    """Affinity as in Kubernetes."""
    env: Annotated[list[EnvVar], Field(max_length=256), ListMap("name")] = Field(default_factory=list)
    """Environment; credentials come from a Secret through valueFrom."""
    volumes: Annotated[list[Volume], Field(max_length=64), ListMap("name")] = Field(default_factory=list)
    """Volumes; hostPath is refused."""
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=64)] = Field(default_factory=list)
    """Mounts of those volumes."""
    service_account_name: _Reference | None = None
    """Service account of the pods; imagejob-runner, which the operator makes, unless set. With another one pods cannot report progress."""
    image_pull_secrets: Annotated[list[SecretReference], Field(max_length=16)] = Field(default_factory=list)
    """Secrets to pull the image with."""
    priority_class_name: _Reference | None = None
    """PriorityClass of the pods."""

"""Object metadata as far as a file or an API server may write it, and conditions."""

from typing import Annotated, Literal

from pydantic import Field

from imagejob_api.base import ApiModel, JsonObject, SubdomainName
from imagejob_api.constants import API_VERSION

Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""A point in time as in RFC 3339, such as ``2026-05-04T10:00:00Z``."""


class ClusterMetadata(ApiModel):
    """Metadata of a cluster-scoped object. What only the API server writes is accepted, since `kubectl get -o yaml` prints it."""

    name: SubdomainName
    """Name of the object."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of the object."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations of the object."""
    finalizers: list[str] = Field(default_factory=list)
    """What must be done before the object goes."""
    owner_references: list[JsonObject] = Field(default_factory=list)
    """Objects that this one goes with."""
    uid: str | None = None
    """Written by the API server."""
    resource_version: str | None = None
    """Written by the API server: changes with every write."""
    generation: int | None = None
    """Written by the API server: grows with every change of the spec."""
    creation_timestamp: str | None = None
    """Written by the API server."""
    deletion_timestamp: str | None = None
    """Written by the API server when the object is on its way out."""
    deletion_grace_period_seconds: int | None = None
    """Written by the API server."""
    generate_name: str | None = None
    """Beginning of the name that an API server made up."""
    managed_fields: list[JsonObject] = Field(default_factory=list)
    """Written by the API server."""
    self_link: str | None = None
    """Written by old API servers."""


class Metadata(ClusterMetadata):
    """Metadata of a namespaced object."""

    namespace: str = "default"
    """Namespace of the object."""


class Resource(ApiModel):
    """What all kinds share."""

    api_version: Literal["imagejob.dev/v1alpha1"] = API_VERSION
    """Always imagejob.dev/v1alpha1."""
    kind: str
    """Kind of the object."""


class Condition(ApiModel):
    """One aspect of an object's state, in the form of Kubernetes' own conditions."""

    type: Annotated[str, Field(max_length=316)]
    """Name of the aspect, in CamelCase."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Why, as a constant in CamelCase."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Why, for people."""
    last_transition_time: Timestamp
    """When `status` changed last, RFC 3339."""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    """Generation of the spec that this belongs to."""

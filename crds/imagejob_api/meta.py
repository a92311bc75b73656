"""Object metadata as far as imagejob reads it, and conditions."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from imagejob_api.base import ApiModel
from imagejob_api.constants import API_VERSION


class ClusterMetadata(ApiModel):
    """Metadata of a cluster-scoped object. Fields that only the API server writes are accepted and ignored."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
    """Name of the object."""
    labels: dict[str, str] = {}
    """Labels of the object."""
    annotations: dict[str, str] = {}
    """Annotations of the object."""


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

    type: str
    """Name of the aspect, in CamelCase."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: str
    """Why, as a constant in CamelCase."""
    message: str = ""
    """Why, for people."""
    last_transition_time: str
    """When `status` changed last, RFC 3339."""
    observed_generation: int = 0
    """Generation of the spec that this belongs to."""


JsonObject = dict[str, Any]
"""A value that is passed through to Kubernetes as it is."""

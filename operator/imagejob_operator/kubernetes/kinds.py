"""The kinds of objects that the operator reads or writes, and where the API server has them."""

from dataclasses import dataclass
from typing import Final

from imagejob_api.constants import GROUP, VERSION


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind as the API server's URLs name it."""

    kind: str
    """In the singular, as objects have it."""
    group: str
    """API group; empty for the core."""
    version: str
    """Version in the group."""
    plural: str
    """In the plural, as URLs have it."""
    namespaced: bool = True
    """Whether its objects are in namespaces."""

    @property
    def api_version(self) -> str:
        """``apiVersion`` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """Path of a collection, an object or a part of one; without a namespace, of all namespaces."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


IMAGE_JOB: Final = Kind("ImageJob", GROUP, VERSION, "imagejobs")
IMAGE_PIPELINE: Final = Kind("ImagePipeline", GROUP, VERSION, "imagepipelines")
NODE_LIMIT: Final = Kind("NodeLimit", GROUP, VERSION, "nodelimits", namespaced=False)
JOB: Final = Kind("Job", "batch", "v1", "jobs")
POD: Final = Kind("Pod", "", "v1", "pods")
CONFIG_MAP: Final = Kind("ConfigMap", "", "v1", "configmaps")
EVENT: Final = Kind("Event", "", "v1", "events")
SERVICE_ACCOUNT: Final = Kind("ServiceAccount", "", "v1", "serviceaccounts")
NAMESPACE: Final = Kind("Namespace", "", "v1", "namespaces", namespaced=False)
NODE: Final = Kind("Node", "", "v1", "nodes", namespaced=False)
LEASE: Final = Kind("Lease", "coordination.k8s.io", "v1", "leases")
ROLE_BINDING: Final = Kind("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings")
RESOURCE_CLAIMS: Final = tuple(
    Kind("ResourceClaim", "resource.k8s.io", version, "resourceclaims") for version in ("v1", "v1beta2", "v1beta1")
)
"""ResourceClaim in all versions in which a cluster may serve it, newest first."""

"""The kinds that the cluster's commands read and write, and where the API server has them."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from imagejob_api.constants import GROUP, VERSION


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of objects."""

    kind: str
    """As in a manifest."""
    plural: str
    """As in a URL, and in what RBAC says."""
    group: str = ""
    """Group of the API; empty for the core."""
    version: str = "v1"
    """Version of the group."""
    namespaced: bool = True
    """Whether its objects are in namespaces."""

    @property
    def title(self) -> str:
        """As `kubectl` names it: `imagejobs.imagejob.dev`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Path of one object, or of the list of all in a namespace or everywhere.

        Args:
            namespace: Of the objects; None means all namespaces.
            name: Of one object.
        """
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        return "/" + "/".join(parts)


IMAGE_JOB: Final = Resource("ImageJob", "imagejobs", GROUP, VERSION)
IMAGE_PIPELINE: Final = Resource("ImagePipeline", "imagepipelines", GROUP, VERSION)
NODE_LIMIT: Final = Resource("NodeLimit", "nodelimits", GROUP, VERSION, namespaced=False)
LEASE: Final = Resource("Lease", "leases", "coordination.k8s.io", "v1")
POD: Final = Resource("Pod", "pods")

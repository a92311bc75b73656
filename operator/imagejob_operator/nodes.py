"""Which nodes are not ready."""

from imagejob_operator.manifest import Json


class LostNodes:
    """The nodes that are not ready: the kubelet says so, or has not been heard of for so long that the control plane does."""

    def __init__(self) -> None:
        self._lost: set[str] = set()

    def report(self, event_type: str | None, node: Json) -> None:
        """Take in what a watch says; "DELETED" means gone. The pods of a node that is gone are collected by Kubernetes itself."""
        name = node["metadata"]["name"]
        conditions = (node.get("status") or {}).get("conditions") or ()
        ready = next((each.get("status") for each in conditions if each.get("type") == "Ready"), "True")
        if event_type == "DELETED" or ready == "True":
            self._lost.discard(name)
        else:
            self._lost.add(name)

    def __call__(self) -> frozenset[str]:
        """Their names."""
        return frozenset(self._lost)

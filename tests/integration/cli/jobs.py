"""ImageJobs, NodeLimits and Leases of the tests."""

import json
from typing import Any

from nodelease import Holder, LeaseState, Waiter
from nodelease.kubernetes.objects import new_lease
from tests.cluster.control_plane import ControlPlane
from tests.unit.api.objects import Json, image_job

OPERATOR_NAMESPACE = "imagejob-system"
URLS = {"urls": [{"url": "https://photos.example.com/a.jpg"}]}
CALL = {"steps": [{"name": "classify", "call": {"function": "models:classify"}}]}


def simple_job(name: str = "demo", **spec: object) -> Json:
    """An ImageJob that refers to nothing."""
    return image_job(name, **{"source": URLS, "pipelineRef": None, "pipeline": CALL, **spec})


def condition(kind: str, *, holds: bool, reason: str, message: str = "") -> Json:
    """A condition of a status."""
    return {
        "type": kind,
        "status": "True" if holds else "False",
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-05-04T10:00:00Z",
        "observedGeneration": 1,
    }


class Jobs:
    """The ImageJobs of a test's namespace."""

    def __init__(self, cluster: ControlPlane, namespace: str) -> None:
        self._cluster, self.namespace = cluster, namespace

    def make(self, name: str = "demo", **spec: object) -> None:
        """Creates a job."""
        self._cluster.kubectl("create", "-n", self.namespace, "-f", "-", stdin=json.dumps(simple_job(name, **spec)))

    def get(self, name: str = "demo") -> Any:  # noqa: ANN401  JSON
        """Reads it."""
        return json.loads(self._cluster.kubectl("get", "imagejob", "-n", self.namespace, name, "-o", "json"))

    def write_status(self, name: str = "demo", **status: object) -> None:
        """Writes fields of its status."""
        patch = json.dumps({"status": {"observedGeneration": 1, **status}})
        self._cluster.kubectl("patch", "-n", self.namespace, f"imagejob/{name}", "--subresource=status", "--type=merge", "-p", patch)

    def run(self, name: str = "demo", done: int = 812, **status: object) -> None:
        """It is at work."""
        self.write_status(
            name,
            phase="Running",
            startTime="2026-05-04T10:00:00Z",
            images={"total": 1000, "succeeded": done - 7, "failed": 7},
            imagesPerSecond="97.3",
            waitingForLimit=3,
            pods={"active": 4, "ready": 4},
            conditions=[condition("Finished", holds=False, reason="NotFinished")],
            **status,
        )

    def finish(self, name: str = "demo", reason: str = "Succeeded", *more: Json, failed: int = 0, phase: str = "Succeeded") -> None:
        """It is over."""
        self.write_status(
            name,
            phase=phase,
            startTime="2026-05-04T10:00:00Z",
            completionTime="2026-05-04T10:02:10Z",
            images={"total": 1000, "succeeded": 1000 - failed, "failed": failed},
            pods={"active": 0, "ready": 0},
            waitingForLimit=0,
            conditions=[condition("Finished", holds=True, reason=reason), *more],
        )

    def delete(self, name: str = "demo") -> None:
        """It is gone."""
        self._cluster.kubectl("delete", "imagejob", "-n", self.namespace, name)


def lease(limit: str, node: str, *, slots: int = 2, holders: tuple[str, ...] = (), queue: tuple[str, ...] = ()) -> Json:
    """A Lease as the operator makes it, without its owner: there are no nodes here."""
    state = LeaseState(
        slots,
        holders=tuple(Holder(f"h{slot}", pod, slot + 1, 0, (slot,)) for slot, pod in enumerate(holders)),
        queue=tuple(Waiter(f"w{place}", pod) for place, pod in enumerate(queue)),
        transitions=len(holders),
    )
    made = new_lease(limit, node, node_uid="none", namespace=OPERATOR_NAMESPACE, state=state)
    del made["metadata"]["ownerReferences"]
    return made

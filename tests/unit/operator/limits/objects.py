"""Objects that the tests of limits start from."""

from typing import Any

from imagejob_api.pod import LABEL_MEMBER
from imagejob_operator.limits.facts import Goal, NodeFacts
from imagejob_operator.limits.records import LeaseRecord, read_record
from nodelease import Holder, LeaseState, Waiter
from nodelease.bounds import Bounds
from nodelease.kubernetes.objects import merged, new_lease

Json = dict[str, Any]

NAMESPACE = "imagejob-system"
PAIR = ("gpu", "node-1")
NODE = NodeFacts("node-1", "uid-of-node-1", {}, 1)
BOUNDS = Bounds(max_hold_seconds=60.0, max_priority=1_000_000)
"""Unless a NodeLimit says otherwise."""
GOAL = Goal(slots=2, active=True, duration_seconds=30, bounds=BOUNDS)


def node_limit(name: str = "gpu", generation: int = 1, **spec: object) -> Json:
    given = spec or {"slots": 2}
    return {
        "apiVersion": "imagejob.dev/v1alpha1",
        "kind": "NodeLimit",
        "metadata": {"name": name, "uid": f"uid-of-{name}", "generation": generation, "resourceVersion": "1"},
        "spec": given,
        "status": {"observedGeneration": -1},
    }


def node(name: str = "node-1", labels: dict[str, str] | None = None, gpus: int | None = None) -> Json:
    allocatable = {"cpu": "8"} | ({} if gpus is None else {"nvidia.com/gpu": str(gpus)})
    metadata = {"name": name, "uid": f"uid-of-{name}", "resourceVersion": "1", "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": {"allocatable": allocatable}}


def pod(name: str, phase: str = "Running", *, namespace: str = "team-a", member: bool = True) -> Json:
    labels = {LABEL_MEMBER: "true"} if member else {}
    metadata = {"namespace": namespace, "name": name, "uid": f"uid-of-{name}", "resourceVersion": "1", "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": phase}}


def state(*holders: str, queue: tuple[str, ...] = (), slots: int = 2, active: bool = True) -> LeaseState:
    """Pods `team-a/<name>` hold a slot each, with the request `<name>`, and others wait."""
    held = tuple(Holder(name, f"team-a/{name}", number, 0, (number - 1,)) for number, name in enumerate(holders, 1))
    waiting = tuple(Waiter(name, f"team-a/{name}") for name in queue)
    return LeaseState(slots, 30, active, held, waiting, transitions=len(holders), bounds=BOUNDS)


def lease(of: LeaseState, pair: tuple[str, str] = PAIR, version: int = 7) -> Json:
    """The Lease as the API server has it."""
    made = new_lease(*pair, node_uid=f"uid-of-{pair[1]}", namespace=NAMESPACE, state=of)
    made["metadata"] |= {"uid": "uid-of-lease", "resourceVersion": str(version)}
    return merged(made, of)


def record(of: LeaseState, seen_at: float = 0.0) -> LeaseRecord:
    return read_record(lease(of), PAIR, seen_at)

"""Jobs and slots that the tests look at."""

from datetime import UTC, datetime
from typing import Any

from imagejob_cli.cluster.board import Snapshot
from imagejob_cli.cluster.job import JobView
from imagejob_cli.cluster.slots import NodeSlots
from nodelease import Holder, LeaseState, Waiter

Json = dict[str, Any]
NOW = datetime(2026, 5, 4, 10, 2, 10, tzinfo=UTC)


def condition(kind: str, reason: str, message: str = "", *, holds: bool = True) -> Json:
    return {"type": kind, "status": "True" if holds else "False", "reason": reason, "message": message}


def job(name: str = "demo", *conditions: Json, spec: Json | None = None, **status: Any) -> JobView:  # noqa: ANN401  JSON
    written = {"observedGeneration": 1, "conditions": list(conditions), **status}
    return JobView.of({"metadata": {"name": name, "namespace": "team", "generation": 1}, "spec": spec or {}, "status": written})


def running(name: str = "demo", **status: Any) -> JobView:  # noqa: ANN401  JSON
    figures = {
        "phase": "Running",
        "startTime": "2026-05-04T10:00:00Z",
        "eta": "2026-05-04T10:02:22Z",
        "images": {"total": 1000, "succeeded": 804, "failed": 7, "skipped": 1},
        "imagesPerSecond": "97.3",
        "waitingForLimit": 3,
        "pods": {"active": 4},
    }
    return job(name, condition("Finished", "NotFinished", "The job has not ended yet.", holds=False), **(figures | status))


def finished(reason: str, *more: Json, name: str = "demo", output: str = "s3://b/x/", **status: Any) -> JobView:  # noqa: ANN401  JSON
    times = {"startTime": "2026-05-04T10:00:00Z", "completionTime": "2026-05-04T10:01:05Z"}
    images = {"images": {"total": 1000, "succeeded": 990, "failed": 10}}
    spec = {"output": {"url": output}}
    return job(name, condition("Finished", reason, f"it is {reason}"), *more, spec=spec, **{"phase": "Failed", **times, **images, **status})


def slots(node: str = "worker-1", *, holders: tuple[str, ...] = (), queue: tuple[str, ...] = (), **state: Any) -> NodeSlots:  # noqa: ANN401
    return NodeSlots(
        "gpu",
        node,
        LeaseState(
            slots=2,
            holders=tuple(Holder(f"h{slot}", pod, slot + 1, 0, (slot,)) for slot, pod in enumerate(holders)),
            queue=tuple(Waiter(f"w{place}", pod) for place, pod in enumerate(queue)),
            **state,
        ),
    )


def snapshot(*jobs: JobView, slots: tuple[NodeSlots, ...] = (), note: str = "", missing: frozenset[str] = frozenset()) -> Snapshot:
    return Snapshot(jobs, slots, note, NOW, missing)

"""Jobs and slots for programs: what `--json` prints."""

from typing import Any

from imagejob_cli.cluster.board import Snapshot
from imagejob_cli.cluster.job import JobView
from imagejob_cli.cluster.slots import NodeSlots
from imagejob_cli.limits import as_object


def snapshot_object(snapshot: Snapshot) -> dict[str, Any]:
    """Jobs and slots at one moment."""
    return {
        "jobs": [job_object(job) | ({"deleted": True} if job.name in snapshot.missing else {}) for job in snapshot.jobs],
        "slots": [slots_object(slots) for slots in snapshot.slots],
    }


def job_object(job: JobView) -> dict[str, Any]:
    """One job."""
    return {
        "namespace": job.namespace,
        "name": job.name,
        "phase": job.phase or None,
        "finished": job.finished is not None,
        "exitCode": job.exit_code,
        "images": {"total": job.total, "succeeded": job.succeeded, "failed": job.failed, "skipped": job.skipped},
        "imagesPerSecond": job.rate,
        "pods": job.pods,
        "waitingForLimit": job.waiting,
        "bottleneck": job.bottleneck or None,
        "eta": job.eta and job.eta.isoformat(),
        "startTime": job.started and job.started.isoformat(),
        "completionTime": job.completed and job.completed.isoformat(),
        "conditions": [
            {"type": condition.type, "status": condition.holds, "reason": condition.reason, "message": condition.message}
            for condition in job.conditions
        ],
        "output": job.output,
    }


def slots_object(slots: NodeSlots) -> dict[str, Any]:
    """A limit on a node; a Lease that cannot be read has a problem instead of figures."""
    place = {"limit": slots.limit, "node": slots.node}
    if slots.state is None:
        return {**place, "problem": slots.problem}
    state = as_object(slots.limit, slots.state)
    del state["name"]
    return {**place, **state}

"""Objects of a cluster as the planner sees them."""

import copy
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from imagejob_api.imagejob import ImageJobStatus
from imagejob_api.pod import (
    ANNOTATION_PROGRESS,
    LABEL_PART,
    RUNNER_CONTAINER,
    ErrorReport,
    Part,
    PlanReport,
    PodImages,
    PodProgress,
    PodResult,
    SummaryReport,
)
from imagejob_operator.constants import ANNOTATION_INDEX
from imagejob_operator.imagejobs.acceptance import accept, read_spec
from imagejob_operator.imagejobs.observed import Observed
from imagejob_operator.imagejobs.pod_view import PodView
from imagejob_operator.limits.view import LimitFacts
from imagejob_operator.objects.job_file import StoredFile
from imagejob_operator.objects.jobs import batch_job
from imagejob_operator.objects.naming import own_labels
from imagejob_operator.settings import Settings
from imagejob_operator.timestamps import format_time

Json = dict[str, Any]

START = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
NAMESPACE = "team-a"
SETTINGS = Settings(namespace="imagejob-system", runner_image="runner:1")
STEPS: list[Json] = [
    {"name": "download", "download": {}},
    {"name": "infer", "infer": {"model": {"architecture": "nets:small"}}, "limits": [{"name": "gpu"}]},
    {"name": "save", "save": {}},
]
GPU = LimitFacts(active=True, node_selector={}, on_nodes=True)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def limits(**known: LimitFacts | None) -> Callable[[str], LimitFacts | None]:
    return {"gpu": GPU, **known}.get


def image_job(name: str = "flowers", *, labels: Json | None = None, status: Json | None = None, **spec: object) -> Json:
    complete = {
        "source": {"urls": [{"url": f"https://photos.example/{index}.jpg"} for index in range(10)]},
        "pipeline": {"steps": copy.deepcopy(STEPS)},
        "output": {"url": "s3://results/flowers"},
        "chunkSize": 2,
        "parallelism": 2,
        **spec,
    }
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": f"uid-of-{name}",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": format_time(START),
    }
    if labels:
        metadata["labels"] = labels
    given = {key: value for key, value in complete.items() if value is not None}
    job = {"apiVersion": "imagejob.dev/v1alpha1", "kind": "ImageJob", "metadata": metadata, "spec": given}
    return {**job, "status": status or {"observedGeneration": -1}}


def image_pipeline(name: str = "classify", **spec: object) -> Json:
    metadata = {"name": name, "namespace": NAMESPACE, "uid": f"uid-of-{name}", "resourceVersion": "1"}
    return {
        "apiVersion": "imagejob.dev/v1alpha1",
        "kind": "ImagePipeline",
        "metadata": metadata,
        "spec": {"steps": copy.deepcopy(STEPS), **spec},
    }


def seen(job: Json, *, at: float = 0.0, pods: Sequence[Json] = (), **known: object) -> Observed:
    views = tuple(filter(None, map(PodView.of, pods)))
    given = {"job": job, "now": after(at), "settings": SETTINGS, "limits": limits(), "access_ready": True, "pods": views, **known}
    return Observed(**given)


def started(job: Json, part: Part = Part.WORK, *, at: float = 0.0, completions: int = 5, **known: object) -> Observed:
    """A job whose Job for a part is there, and which says that it has started."""
    job["status"] = {"observedGeneration": 1, "startTime": format_time(START), **job.get("status", {})}
    now = seen(job, at=at, **known)
    accepted = accept(now, read_spec(now), started=True)
    child = batch_job(
        job,
        accepted.file,
        part,
        parallelism=min(accepted.file.spec.parallelism, completions),
        completions=completions if part is Part.WORK else 1,
        limit_nodes=accepted.limit_nodes,
        settings=SETTINGS,
    )
    child["metadata"] |= {"uid": f"uid-of-{child['metadata']['name']}", "creationTimestamp": format_time(START)}
    child["status"] = {"startTime": format_time(START)}
    return seen(job, at=at, stored=StoredFile.of(accepted.file), jobs=[child], **known)


def with_condition(child: Json, kind: str, *, at: float = 0.0, reason: str = "", message: str = "") -> Json:
    status = child.setdefault("status", {})
    said = {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": format_time(after(at))}
    status["conditions"] = [*status.get("conditions", []), said]
    return child


def pod(
    part: Part = Part.WORK,
    *,
    index: int = 0,
    attempt: int = 0,
    phase: str = "Running",
    node: str = "node-1",
    created: float = 0.0,
    progress: PodProgress | None = None,
    status: Json | None = None,
    **metadata: object,
) -> Json:
    annotations = {ANNOTATION_INDEX: str(index)}
    if progress is not None:
        annotations[ANNOTATION_PROGRESS] = progress.encoded()
    owner = "flowers" if part is Part.WORK else f"flowers-{part.label}"
    conditions = [{"type": "Ready", "status": "True"}] if phase == "Running" else []
    return {
        "metadata": {
            "name": f"{owner}-{index}-{attempt}",
            "namespace": NAMESPACE,
            "uid": f"uid-of-{owner}-{index}-{attempt}",
            "creationTimestamp": format_time(after(created)),
            "labels": {**own_labels("flowers"), LABEL_PART: part.label},
            "annotations": annotations,
            "ownerReferences": [{"uid": f"uid-of-{owner}", "controller": True}],
            **metadata,
        },
        "spec": {"nodeName": node, "containers": [{"name": RUNNER_CONTAINER, "image": "mine:1"}]},
        "status": {"phase": phase, "conditions": conditions, **(status or {})},
    }


def ended_pod(
    code: int,
    *,
    result: PodResult | None = None,
    reason: str = "",
    part: Part = Part.WORK,
    index: int = 0,
    attempt: int = 0,
    **fields: object,
) -> Json:
    terminated: Json = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error"), "finishedAt": format_time(START)}
    if result is not None:
        terminated["message"] = result.encoded()
    state = {"containerStatuses": [{"name": RUNNER_CONTAINER, "state": {"terminated": terminated}}], **fields}
    return pod(part, index=index, attempt=attempt, phase="Succeeded" if code == 0 else "Failed", status=state)


def waiting_pod(reason: str, message: str = "", **fields: object) -> Json:
    state = {"containerStatuses": [{"name": RUNNER_CONTAINER, "state": {"waiting": {"reason": reason, "message": message}}}]}
    return pod(phase="Pending", status=state, **fields)


def unschedulable_pod(message: str, *, since: float = 0.0, **fields: object) -> Json:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastTransitionTime": format_time(after(since)),
    }
    return pod(phase="Pending", node="", status={"conditions": [condition]}, **fields)


def images(succeeded: int = 0, failed: int = 0, skipped: int = 0) -> PodImages:
    return PodImages(succeeded=succeeded, failed=failed, skipped=skipped)


def summary(succeeded: int, failed: int = 0, *, total: int | None = None, within_policy: bool = True) -> PodResult:
    whole = succeeded + failed if total is None else total
    report = SummaryReport(total=whole, succeeded=succeeded, failed=failed, skipped=0, within_policy=within_policy)
    return PodResult(images=images(succeeded, failed), summary=report)


def planned(total: int = 1000, shards: int = 4) -> PodResult:
    return PodResult(plan=PlanReport(total=total, shards=shards, chunk_size=128))


def error(message: str) -> PodResult:
    return PodResult(error=ErrorReport(message=message))


def conditions_of(status: ImageJobStatus) -> dict[str, tuple[str, str, str]]:
    """By type: status, reason and message."""
    return {str(each.type): (each.status, each.reason, each.message) for each in status.conditions}

"""The Jobs of an ImageJob: one Indexed Job for the work, a small one before it to plan, and one after it if nobody wrote the summary."""

from collections.abc import Mapping

from imagejob_api.pod import LABEL_PART, RUNNER_CONTAINER, JobFile, Part, RunnerExit
from imagejob_operator.constants import ANNOTATION_DIGEST, LABEL_KUEUE_QUEUE
from imagejob_operator.manifest import Json
from imagejob_operator.objects.job_file import pods_digest
from imagejob_operator.objects.naming import child_metadata, inherited_labels, job_name
from imagejob_operator.objects.pod_template import pod_template
from imagejob_operator.settings import Settings


def batch_job(
    owner: Json, file: JobFile, part: Part, *, parallelism: int, completions: int, limit_nodes: Mapping[str, str], settings: Settings
) -> Json:
    """The Job for one part.

    Args:
        owner: The ImageJob.
        file: What its pods are told.
        part: Which part.
        parallelism: Pods at once.
        completions: For the work: the number of shards; otherwise 1.
        limit_nodes: Labels of the nodes that have all limits that the steps take.
        settings: The operator's settings.
    """
    metadata = owner["metadata"]
    labels = inherited_labels(metadata.get("labels") or {})
    child = child_metadata(owner, job_name(metadata["name"], part), {**labels, LABEL_PART: part.label})
    child["annotations"] = {ANNOTATION_DIGEST: pods_digest(file)}
    limit = file.spec.failure_policy.backoff_limit_per_shard
    nodes = limit_nodes if part is Part.WORK else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": child,
        "spec": {
            "suspend": LABEL_KUEUE_QUEUE in labels,
            "parallelism": parallelism,
            "completions": completions,
            **({"completionMode": "Indexed", "backoffLimitPerIndex": limit} if part is Part.WORK else {"backoffLimit": limit}),
            "podFailurePolicy": _pod_failure_policy(),
            "podReplacementPolicy": "Failed",
            "template": pod_template(metadata["name"], file.spec, part, completions=completions, limit_nodes=nodes, settings=settings),
        },
    }


def _pod_failure_policy() -> Json:
    """Disruptions and stops count for nothing; what no attempt can help ends the Job; the rest counts as a failed attempt."""
    return {
        "rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "Ignore", "onExitCodes": _exit_codes(RunnerExit.STOPPED)},
            {"action": "FailJob", "onExitCodes": _exit_codes(*(code for code in RunnerExit if code.permanent))},
        ]
    }


def _exit_codes(*codes: RunnerExit) -> Json:
    return {"containerName": RUNNER_CONTAINER, "operator": "In", "values": [int(code) for code in codes]}

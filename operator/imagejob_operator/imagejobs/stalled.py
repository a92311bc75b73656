"""Why a job does not run, in the words of whoever knows: the scheduler, the kubelet, the API server, the pods themselves."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from imagejob_api.pod import Part
from imagejob_api.reasons import Reason
from imagejob_operator.imagejobs.actions import Inquiry
from imagejob_operator.imagejobs.job_view import JobView
from imagejob_operator.imagejobs.observed import Hindrance
from imagejob_operator.imagejobs.pod_view import PodView
from imagejob_operator.imagejobs.situation import Situation

PATIENCE_SECONDS: Final = 5.0
"""How long pods may take to be made, placed or started before somebody is asked why they are not."""
ASK_AGAIN_SECONDS: Final = 30.0

_WAITING: Final = {
    "ErrImagePull": Reason.IMAGE_PULL_FAILED,
    "ImagePullBackOff": Reason.IMAGE_PULL_FAILED,
    "InvalidImageName": Reason.IMAGE_PULL_FAILED,
    "ErrImageNeverPull": Reason.IMAGE_PULL_FAILED,
    "ImageInspectError": Reason.IMAGE_PULL_FAILED,
    "RegistryUnavailable": Reason.IMAGE_PULL_FAILED,
    "SignatureValidationFailed": Reason.IMAGE_PULL_FAILED,
    "CreateContainerConfigError": Reason.CONTAINER_CONFIG_ERROR,
    "CreateContainerError": Reason.CONTAINER_START_FAILED,
    "RunContainerError": Reason.CONTAINER_START_FAILED,
    "PreCreateHookError": Reason.CONTAINER_START_FAILED,
    "PreStartHookError": Reason.CONTAINER_START_FAILED,
    "PostStartHookError": Reason.CONTAINER_START_FAILED,
}
"""Why containers wait (k8s.io/kubernetes, pkg/kubelet/images and pkg/kubelet/kuberuntime)."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Whether something keeps a job from running."""

    hindrance: Hindrance | None = None
    inquiry: Inquiry | None = None
    """Whose Events to look at, since nothing else says why."""
    again_after: float | None = None
    """Seconds after which to look again."""


def diagnose(now: Situation, job: JobView) -> Diagnosis:
    """Why a Job that should run does not; nothing is wrong while one of its pods runs."""
    pods = [pod for pod in now.live_pods if pod.part is job.part]
    running = [pod for pod in pods if pod.running]
    if running:
        return Diagnosis(_held_up(running))
    known = next(filter(None, map(_said_by_kubelet, pods)), None)
    if known is not None:
        return Diagnosis(known)
    waiting = [pod for pod in pods if pod.pending]
    since = _waiting_since(job, waiting)
    patient = PATIENCE_SECONDS - (now.seen.now - since).total_seconds() if since is not None else PATIENCE_SECONDS
    if patient > 0:
        return Diagnosis(again_after=patient)
    unplaced = next((pod for pod in waiting if pod.unschedulable), None)
    if unplaced is not None:
        return Diagnosis(_unplaced(now, unplaced))
    if not pods:
        inquiry = Inquiry("Job", job.uid)
    elif waiting and waiting[0].node:
        inquiry = Inquiry("Pod", waiting[0].uid)
    else:
        return Diagnosis(again_after=ASK_AGAIN_SECONDS)
    return Diagnosis(now.seen.complaint, inquiry, ASK_AGAIN_SECONDS)


def _held_up(running: list[PodView]) -> Hindrance | None:
    """No pod can write to the output, or all wait for a limit that is not to be had; a mere turn is nothing to stall for."""
    reports = [pod.progress for pod in running if pod.progress is not None]
    away = [report.storage for report in reports if report.storage]
    if away and len(away) == len(reports):
        return Hindrance(Reason.STORAGE_UNREACHABLE, away[0])
    reasons = [report.reason for report in reports if report.reason and not report.holding]
    return Hindrance(Reason.LIMIT_UNAVAILABLE, reasons[0]) if reasons and len(reasons) == len(running) else None


def _said_by_kubelet(pod: PodView) -> Hindrance | None:
    reason, message = pod.waiting
    known = _WAITING.get(reason)
    return Hindrance(known, message or reason) if known is not None else None


def _unplaced(now: Situation, pod: PodView) -> Hindrance:
    names = {limit.name for step in (now.seen.stored.pipeline.steps if now.seen.stored else ()) for limit in step.limits}
    limits = now.seen.limits or (lambda _name: None)
    nowhere = sorted(name for name in names if (limit := limits(name)) is not None and not limit.on_nodes)
    if nowhere and pod.part is Part.WORK:
        return Hindrance(Reason.LIMIT_ON_NO_NODE, f"No node has the limit {' or '.join(nowhere)}. The scheduler says: {pod.unschedulable}")
    return Hindrance(Reason.UNSCHEDULABLE, pod.unschedulable)


def _waiting_since(job: JobView, waiting: list[PodView]) -> datetime | None:
    """Since when the Job should have had a running pod."""
    if not waiting:
        return job.started or job.created
    moments = [pod.unschedulable_since or pod.created for pod in waiting]
    return min((moment for moment in moments if moment is not None), default=None)

"""Why a job does not run, in the words of whoever knows: the scheduler, the kubelet, the API server, the pods themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from imagejob_api.pod import Part
from imagejob_api.reasons import Reason
from imagejob_operator.imagejobs.actions import Inquiry
from imagejob_operator.imagejobs.job_view import JobView
from imagejob_operator.imagejobs.observed import Hindrance
from imagejob_operator.imagejobs.pod_view import PodView
from imagejob_operator.imagejobs.retries import Retries
from imagejob_operator.imagejobs.situation import Situation

PATIENCE_SECONDS: Final = 5.0
"""How long pods may take to be made, placed or started before somebody is asked why they are not."""
SILENCE_SECONDS: Final = 10.0
"""How long they may take while nobody says why."""
ATTACHING_SECONDS: Final = 60.0
"""The same for pods with volumes that are made or attached for them, which takes a cloud so long."""
ASK_SOON_SECONDS: Final = 5.0
ASK_AGAIN_SECONDS: Final = 30.0
"""Between two looks at Events: in the first minute, and later."""
_SOON_FOR_SECONDS: Final = 60.0
NEXT_POD_SECONDS: Final = 60.0
"""How long the Job controller may take to make a pod in the place of one that has ended: its longest backoff after a refusal."""

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


_NAMED_IN: Final = {Reason.CONTAINER_CONFIG_ERROR: "template.env", Reason.VOLUME_UNAVAILABLE: "template.volumes"}
"""Where a job names what the kubelet does not find."""
_MISSING: Final = "not found"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Whether something keeps a job from running."""

    hindrance: Hindrance | None = None
    inquiry: Inquiry | None = None
    """Whose Events to look at, since nothing else says why."""
    again_after: float | None = None
    """Seconds after which to look again."""


def diagnose(now: Situation, job: JobView, again: Retries) -> Diagnosis:
    """Why a Job that should run does not; nothing is wrong while one of its pods works.

    Args:
        now: The ImageJob.
        job: Its Job.
        again: That Job's pods that failed and are tried again.
    """
    pods = [pod for pod in now.live_pods if pod.part is job.part]
    failing = again.hindrance if again.all_failing else None
    running = [pod for pod in pods if pod.running]
    if running:
        return Diagnosis(_held_up(running) or failing)
    known = next(filter(None, map(_said_by_kubelet, pods)), None)
    if known is not None:
        return Diagnosis(known)
    waiting = [pod for pod in pods if pod.pending]
    since = _waiting_since(now, job, waiting, again) or now.seen.now
    waited = (now.seen.now - since).total_seconds()
    if waited < PATIENCE_SECONDS:
        return Diagnosis(failing, again_after=PATIENCE_SECONDS - waited)
    unplaced = next((pod for pod in waiting if pod.unschedulable), None)
    if unplaced is not None:
        return Diagnosis(_unplaced(now, unplaced))
    if pods and not waiting:  # all of them are on their way out
        return Diagnosis(failing, again_after=ASK_AGAIN_SECONDS)
    pause = ASK_SOON_SECONDS if waited < _SOON_FOR_SECONDS else ASK_AGAIN_SECONDS
    quiet = ATTACHING_SECONDS if any(pod.attaches for pod in waiting) else SILENCE_SECONDS
    inquiry = _about(waiting[0], pause) if waiting else Inquiry("Job", job.uid, pause)
    silent = _silence(job, waiting, since) if waited >= quiet and not now.seen.pulling else None
    complaint = _with_fix(now.seen.complaint) if now.seen.complaint is not None else None
    return Diagnosis(complaint or silent or failing, inquiry, pause)


def _about(pod: PodView, pause: float) -> Inquiry:
    return Inquiry("Pod", pod.uid, pause, () if pod.node else pod.claims)


def _silence(job: JobView, waiting: Sequence[PodView], since: datetime) -> Hindrance:
    """Nobody has said anything: then at least who should have."""
    moment = f"{since:%H:%M:%S} UTC"
    if not waiting:
        words = f"The Job {job.name} has had no pod since {moment}, and nobody says why. Does kube-controller-manager run?"
        return Hindrance(Reason.PODS_REFUSED, f"{words} kubectl describe job {job.name} shows what there is.")
    pod = waiting[0]
    look = f"kubectl describe pod {pod.name} shows what there is."
    if not pod.node:
        words = f"The scheduler has found no node for pod {pod.name} since {moment}, and nobody says why. Does it run?"
        return Hindrance(Reason.UNSCHEDULABLE, f"{words} {look}")
    words = f"The container of pod {pod.name} has not started since {moment}, and the kubelet of {pod.node} does not say why. Does it run?"
    return Hindrance(Reason.CONTAINER_START_FAILED, f"{words} {look}")


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
    return _with_fix(Hindrance(known, message or reason)) if known is not None else None


def _with_fix(said: Hindrance) -> Hindrance:
    """What the kubelet misses is mostly in another namespace, or called otherwise."""
    field = _NAMED_IN.get(said.reason)
    if field is None or _MISSING not in said.message:
        return said
    return Hindrance(said.reason, f"{said.message.rstrip('.')}. Make it in the job's namespace, or correct {field}.")


def _unplaced(now: Situation, pod: PodView) -> Hindrance:
    names = {limit.name for step in (now.seen.stored.pipeline.steps if now.seen.stored else ()) for limit in step.limits}
    limits = now.seen.limits or (lambda _name: None)
    nowhere = sorted(name for name in names if (limit := limits(name)) is not None and not limit.on_nodes)
    if nowhere and pod.part is Part.WORK:
        return Hindrance(Reason.LIMIT_ON_NO_NODE, f"No node has the limit {' or '.join(nowhere)}. The scheduler says: {pod.unschedulable}")
    return Hindrance(Reason.UNSCHEDULABLE, pod.unschedulable)


def _waiting_since(now: Situation, job: JobView, waiting: list[PodView], again: Retries) -> datetime | None:
    """Since when the Job should have had a running pod.

    A quota that lets some pods through makes the Job controller wait, too, before it tries to make the next: a job can live with that.
    """
    if waiting:
        moments = [pod.scheduled_at or pod.created for pod in waiting]
        return min((moment for moment in moments if moment is not None), default=None)
    ends = [pod.ended_at + timedelta(seconds=NEXT_POD_SECONDS) for pod in now.pods if pod.owner == job.uid and pod.ended_at is not None]
    known = [job.started or job.created, again.next_at, *ends]
    return max((moment for moment in known if moment is not None), default=None)

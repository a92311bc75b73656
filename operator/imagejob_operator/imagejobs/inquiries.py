"""Looks at Kubernetes' Events where a status does not say what is wrong: a Job without pods, a pod that does not start."""

from typing import Final

from imagejob_api.reasons import Reason
from imagejob_operator.imagejobs.actions import Inquiry
from imagejob_operator.imagejobs.observed import Hindrance
from imagejob_operator.kubernetes import KubernetesApi
from imagejob_operator.kubernetes.kinds import EVENT
from imagejob_operator.manifest import Json

_TELLING: Final = {
    "FailedCreate": Reason.PODS_REFUSED,
    "FailedMount": Reason.VOLUME_UNAVAILABLE,
    "FailedAttachVolume": Reason.VOLUME_UNAVAILABLE,
    "FailedCreatePodSandBox": Reason.CONTAINER_START_FAILED,
    "FailedPrepareDynamicResources": Reason.CONTAINER_START_FAILED,
}


async def inquire(api: KubernetesApi, namespace: str, inquiry: Inquiry) -> Hindrance | None:
    """What the newest telling Event about an object says; None if there is none."""
    events = await api.list(EVENT, namespace, field_selector=f"involvedObject.uid={inquiry.uid},type=Warning")
    telling = [event for event in events if event.get("reason") in _TELLING]
    if not telling:
        return None
    newest = max(telling, key=_moment)
    return Hindrance(_TELLING[newest["reason"]], str(newest.get("message", "")))


def _moment(event: Json) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp", ""))

"""Looks at Kubernetes' Events where a status does not say what is wrong: a Job without pods, a pod that does not start."""

from dataclasses import dataclass
from typing import Final

from imagejob_api.reasons import Reason
from imagejob_operator.imagejobs.actions import Inquiry
from imagejob_operator.imagejobs.observed import Hindrance
from imagejob_operator.kubernetes import ApiError, KubernetesApi, NotFoundError
from imagejob_operator.kubernetes.kinds import EVENT, RESOURCE_CLAIMS
from imagejob_operator.manifest import Json

_TELLING: Final = {
    "FailedCreate": Reason.PODS_REFUSED,
    "FailedMount": Reason.VOLUME_UNAVAILABLE,
    "FailedAttachVolume": Reason.VOLUME_UNAVAILABLE,
    "FailedMapVolume": Reason.VOLUME_UNAVAILABLE,
    "FailedCreatePodSandBox": Reason.CONTAINER_START_FAILED,
    "FailedCreatePodContainer": Reason.CONTAINER_START_FAILED,
    "FailedPrepareDynamicResources": Reason.CONTAINER_START_FAILED,
    "NetworkNotReady": Reason.CONTAINER_START_FAILED,
    "FailedResourceClaimCreation": Reason.UNSCHEDULABLE,
}
_PULLING: Final = "Pulling"
_PULLED: Final = "Pulled"
_NOT_FOUND: Final = "NotFound"
"""The API server's word for an object that is missing; it says nothing of the kind where it does not know the kind."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an inquiry has found."""

    complaint: Hindrance | None = None
    """What the newest telling Event says."""
    pulling: bool = False
    """Whether the kubelet is at pulling the image."""


async def inquire(api: KubernetesApi, namespace: str, inquiry: Inquiry) -> Answer:
    """What Events say about an object, or why a claim that it names is not to be had. Where that may not be read nothing is found.

    Raises:
        ApiUnavailableError: The API server does not answer.
    """
    missing = await _missing_claim(api, namespace, inquiry.claims)
    if missing is not None:
        return Answer(missing)
    events = sorted(await api.list(EVENT, namespace, field_selector=f"involvedObject.uid={inquiry.uid}"), key=_moment)
    telling = [event for event in events if event.get("type") == "Warning" and event.get("reason") in _TELLING]
    pulls = [event["reason"] for event in events if event.get("reason") in (_PULLING, _PULLED)]
    if telling:
        return Answer(Hindrance(_TELLING[telling[-1]["reason"]], str(telling[-1].get("message", ""))))
    return Answer(pulling=pulls[-1:] == [_PULLING])


async def _missing_claim(api: KubernetesApi, namespace: str, claims: tuple[str, ...]) -> Hindrance | None:
    for name in claims:
        for kind in RESOURCE_CLAIMS:
            try:
                await api.get(kind, name, namespace)
            except NotFoundError as error:
                if error.reason == _NOT_FOUND:
                    words = f"There is no ResourceClaim {name} in namespace {namespace}, which gpu.claimName names."
                    return Hindrance(
                        Reason.UNSCHEDULABLE, f"{words} Make it, or name another: kubectl get resourceclaims lists what there is."
                    )
            except ApiError:
                break  # what cannot be looked up is not known to be missing
            else:
                break
    return None


def _moment(event: Json) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp", ""))

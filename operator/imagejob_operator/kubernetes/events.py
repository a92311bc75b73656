"""Kubernetes Events, which `kubectl describe` shows."""

import hashlib
import logging
from datetime import datetime
from typing import Final, Literal

from imagejob_operator.constants import COMPONENT
from imagejob_operator.kubernetes.api import KubernetesApi
from imagejob_operator.kubernetes.exceptions import ApiError, ExistsError
from imagejob_operator.kubernetes.kinds import EVENT, Kind
from imagejob_operator.manifest import Json
from imagejob_operator.timestamps import format_time

logger = logging.getLogger(__name__)

_LONGEST_MESSAGE: Final = 1000
"""Kubernetes takes 1,024 bytes."""
_NAMESPACE: Final = "default"
"""Where Kubernetes keeps the Events of objects that are in no namespace."""


def new_event(kind: Kind, about: Json, severity: Literal["Normal", "Warning"], reason: str, message: str, now: datetime) -> Json:
    """An Event. Its name follows from what it says, so that it is there once, whoever posts it again.

    Args:
        kind: Of which kind the object is that it is about.
        about: The metadata of that object.
        severity: The Event's type.
        reason: One word.
        message: What to say; what is too long is cut off.
        now: The time.
    """
    said = "/".join((about["uid"], str(about.get("generation", 0)), reason, message))
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    moment = format_time(now)
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": f"{about['name']}.{digest}", "namespace": about.get("namespace", _NAMESPACE)},
        "involvedObject": {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "name": about["name"],
            "namespace": about.get("namespace", ""),
            "uid": about["uid"],
            "resourceVersion": about.get("resourceVersion", ""),
        },
        "type": severity,
        "reason": reason,
        "message": message.encode()[:_LONGEST_MESSAGE].decode(errors="ignore"),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }


async def post_event(api: KubernetesApi, event: Json) -> None:
    """Posts an Event, unless it is there. If that fails it is in the log: nothing is held up by it, and a status says the same."""
    try:
        await api.create(EVENT, event)
    except ExistsError:
        return
    except ApiError as error:
        about = event["involvedObject"]
        name = "/".join(filter(None, (about["namespace"], about["name"])))
        logger.warning("An Event about %s %s is lost: %s", about["kind"], name, error)

"""Posts the Kubernetes Events of ImageJobs."""

import hashlib
import logging
from datetime import datetime
from typing import Final

from imagejob_operator.constants import COMPONENT
from imagejob_operator.imagejobs.actions import Notice
from imagejob_operator.imagejobs.timestamps import format_time
from imagejob_operator.kubernetes import ApiError, ExistsError, KubernetesApi
from imagejob_operator.kubernetes.kinds import EVENT, IMAGE_JOB
from imagejob_operator.manifest import Json

logger = logging.getLogger(__name__)

_LONGEST_MESSAGE: Final = 1000
"""Kubernetes takes 1,024 bytes."""


def event_of(job: Json, notice: Notice, now: datetime) -> Json:
    """The Event for a notice. Its name follows from what it says, so that it is there once, whoever posts it again."""
    metadata = job["metadata"]
    said = "/".join((metadata["uid"], str(metadata.get("generation", 0)), notice.reason, notice.message))
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    moment = format_time(now)
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": f"{metadata['name']}.{digest}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": IMAGE_JOB.api_version,
            "kind": IMAGE_JOB.kind,
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata.get("resourceVersion", ""),
        },
        "type": notice.kind,
        "reason": notice.reason,
        "message": notice.message.encode()[:_LONGEST_MESSAGE].decode(errors="ignore"),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }


async def post(api: KubernetesApi, job: Json, notice: Notice, now: datetime) -> None:
    """Posts a notice. That one cannot be posted is no reason to stop: the status says the same."""
    try:
        await api.create(EVENT, event_of(job, notice, now))
    except ExistsError:
        return
    except ApiError as error:
        logger.warning("An Event about ImageJob %s/%s is lost: %s", job["metadata"]["namespace"], job["metadata"]["name"], error)

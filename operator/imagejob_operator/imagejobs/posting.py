"""Posts the Kubernetes Events of ImageJobs."""

import logging
from datetime import datetime

from imagejob_operator.imagejobs.actions import Notice
from imagejob_operator.kubernetes import ApiError, ExistsError, KubernetesApi
from imagejob_operator.kubernetes.events import new_event
from imagejob_operator.kubernetes.kinds import EVENT, IMAGE_JOB
from imagejob_operator.manifest import Json

logger = logging.getLogger(__name__)


async def post(api: KubernetesApi, job: Json, notice: Notice, now: datetime) -> None:
    """Posts a notice. That one cannot be posted is no reason to stop: the status says the same."""
    try:
        await api.create(EVENT, new_event(IMAGE_JOB, job["metadata"], notice.kind, notice.reason, notice.message, now))
    except ExistsError:
        return
    except ApiError as error:
        logger.warning("An Event about ImageJob %s/%s is lost: %s", job["metadata"]["namespace"], job["metadata"]["name"], error)

"""Events for `kubectl describe nodelimit`."""

import logging
from datetime import UTC, datetime
from typing import Final

from imagejob_operator.kubernetes import KubernetesApi
from imagejob_operator.kubernetes.events import EventRecorder
from imagejob_operator.kubernetes.kinds import NODE_LIMIT
from nodelease.clock import now

logger = logging.getLogger(__name__)

REASON_INVALID: Final = "InvalidNodeLimit"
REASON_MALFORMED: Final = "MalformedLease"
REASON_NAME_TAKEN: Final = "LeaseNameTaken"


class Notices:
    """Says each thing once, and what changes all the time now and then."""

    def __init__(self, api: KubernetesApi) -> None:
        self._recorder = EventRecorder(api, lambda: datetime.now(UTC), now)

    async def warn(self, limit: str, uid: str, reason: str, message: str) -> None:
        """Post a warning about a NodeLimit. If that fails, it is in the log, and nothing is held up by it."""
        if await self._recorder.post(NODE_LIMIT, {"name": limit, "uid": uid}, "Warning", reason, message):
            logger.warning("Limit %s: %s", limit, message)

"""Events for `kubectl describe nodelimit`."""

import logging
from datetime import UTC, datetime
from typing import Final

from imagejob_operator.kubernetes import KubernetesApi
from imagejob_operator.kubernetes.events import new_event, post_event
from imagejob_operator.kubernetes.kinds import NODE_LIMIT

logger = logging.getLogger(__name__)

REASON_INVALID: Final = "InvalidNodeLimit"
REASON_MALFORMED: Final = "MalformedLease"
REASON_NAME_TAKEN: Final = "LeaseNameTaken"
_REMEMBERED: Final = 4096


class Notices:
    """Says each thing once; after a restart, too."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api
        self._said: set[str] = set()

    async def warn(self, limit: str, uid: str, reason: str, message: str) -> None:
        """Post a warning about a NodeLimit. If that fails, it is in the log, and nothing is held up by it."""
        event = new_event(NODE_LIMIT, {"name": limit, "uid": uid}, "Warning", reason, message, datetime.now(UTC))
        name = event["metadata"]["name"]
        if name in self._said:
            return
        logger.warning("Limit %s: %s", limit, message)
        await post_event(self._api, event)
        if len(self._said) >= _REMEMBERED:
            self._said.clear()
        self._said.add(name)

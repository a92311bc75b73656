"""Events for `kubectl describe nodelimit`."""

import hashlib
import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

from imagejob_operator.kubernetes import ApiError, ExistsError, KubernetesApi
from imagejob_operator.kubernetes.kinds import EVENT

logger = logging.getLogger(__name__)

REASON_INVALID: Final = "InvalidNodeLimit"
REASON_MALFORMED: Final = "MalformedLease"
REASON_NAME_TAKEN: Final = "LeaseNameTaken"
NAMESPACE: Final = "default"
"""Where Kubernetes keeps the events of objects that are in no namespace."""
_REMEMBERED: Final = 4096
_MESSAGE_LENGTH: Final = 1024


class Notices:
    """Says each thing once; after a restart, too."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api
        self._said: set[str] = set()

    async def warn(self, limit: str, uid: str, reason: str, message: str) -> None:
        """Post a warning about a NodeLimit. If that fails, it is in the log, and nothing is held up by it."""
        event = warning(limit, uid, reason, message)
        name = event["metadata"]["name"]
        if name in self._said:
            return
        logger.warning("Limit %s: %s", limit, message)
        try:
            await self._api.create(EVENT, event)
        except ExistsError:
            pass
        except ApiError as error:
            logger.warning("No event can be posted about limit %s: %s", limit, error)
        if len(self._said) >= _REMEMBERED:
            self._said.clear()
        self._said.add(name)


def warning(limit: str, uid: str, reason: str, message: str) -> dict[str, Any]:
    """An event about a NodeLimit. Its name follows from what it says."""
    digest = hashlib.sha256(json.dumps([uid, reason, message]).encode()).hexdigest()[:16]
    time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{limit}.{digest}", "namespace": NAMESPACE},
        "involvedObject": {"apiVersion": "imagejob.dev/v1alpha1", "kind": "NodeLimit", "name": limit, "uid": uid},
        "type": "Warning",
        "reason": reason,
        "message": message[:_MESSAGE_LENGTH],
        "source": {"component": "imagejob-operator"},
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }

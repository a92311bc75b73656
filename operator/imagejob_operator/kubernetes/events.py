"""Kubernetes Events, which `kubectl describe` shows."""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from imagejob_operator.constants import COMPONENT
from imagejob_operator.kubernetes.api import KubernetesApi
from imagejob_operator.kubernetes.exceptions import ApiError, ExistsError, NotFoundError
from imagejob_operator.kubernetes.kinds import EVENT, Kind
from imagejob_operator.manifest import Json
from imagejob_operator.timestamps import format_time

logger = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 60.0
"""Least time between two posts about the same object for the same reason."""
_REMEMBERED: Final = 4096
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


@dataclass(slots=True)
class _Posted:
    """An Event that is there."""

    name: str
    message: str
    at: float
    count: int = 1


class EventRecorder:
    """Posts Events: one for each object and reason, which is brought up to date now and then if there is something else to say.

    Args:
        api: The API server.
        utc: The time of day.
        clock: Seconds that pass.
    """

    def __init__(self, api: KubernetesApi, utc: Callable[[], datetime], clock: Callable[[], float]) -> None:
        self._api = api
        self._utc = utc
        self._clock = clock
        self._posted: OrderedDict[tuple[str, str], _Posted] = OrderedDict()

    async def post(self, kind: Kind, about: Json, severity: Literal["Normal", "Warning"], reason: str, message: str) -> bool:
        """Says something about an object; returns whether that was news, and time to say it.

        If it fails it is in the log: nothing is held up by it, and a status says the same.
        """
        known = self._posted.get((about["uid"], reason))
        if known is not None:
            known.count += 1
            if known.message == message or self._clock() - known.at < AGAIN_SECONDS:
                return False
        event = new_event(kind, about, severity, reason, message, self._utc())
        try:
            if known is None or not await self._amend(event, known):
                await self._create(event)
                self._remember((about["uid"], reason), _Posted(event["metadata"]["name"], message, self._clock()))
        except ApiError as error:
            name = "/".join(filter(None, (about.get("namespace", ""), about["name"])))
            logger.warning("An Event about %s %s is lost: %s", kind.kind, name, error)
        return True

    async def _create(self, event: Json) -> None:
        with suppress(ExistsError):  # by an operator before this one
            await self._api.create(EVENT, event)

    async def _amend(self, event: Json, known: _Posted) -> bool:
        """Brings an Event up to date; False if it is gone: Kubernetes keeps them for an hour."""
        change = {"message": event["message"], "count": known.count, "lastTimestamp": event["lastTimestamp"]}
        known.message, known.at = event["message"], self._clock()
        try:
            await self._api.patch(EVENT, known.name, event["metadata"]["namespace"], change)
        except NotFoundError:
            return False
        return True

    def _remember(self, key: tuple[str, str], posted: _Posted) -> None:
        self._posted[key] = posted
        self._posted.move_to_end(key)
        if len(self._posted) > _REMEMBERED:
            self._posted.popitem(last=False)

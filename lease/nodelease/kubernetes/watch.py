"""A watch on one Lease that mends itself.

What it brings may have been on its way for any time: through an API server that stood still, or caught up with after a break. That does
no harm, for a grant says when it was made (`holding.counted_from`). When a watch begins anew, the Lease is read past all caches once the
watch is open, so nothing is missed between.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from nodelease.clock import now
from nodelease.exceptions import LimitNotFoundError, MalformedLeaseError, StoreUnavailableError
from nodelease.kubernetes import constants
from nodelease.kubernetes.api import ApiError, ApiServer, EventStream
from nodelease.kubernetes.objects import lease_version
from nodelease.store import Observation, Snapshot

logger = logging.getLogger(__name__)

_BOOKMARK: Final = "BOOKMARK"
_DELETED: Final = "DELETED"


@dataclass(frozen=True, slots=True)
class Target:
    """What is watched, and how to make sense of it."""

    path: str
    """Of the collection that the Lease is in."""
    name: str
    """Of the Lease."""
    missing: str
    """What to say when there is none."""
    read: Callable[[], Awaitable[Snapshot]]
    """Asks for the newest state, past all caches; raises what `LeaseStore.read` does."""
    understand: Callable[[Mapping[str, Any]], Snapshot]
    """Makes a snapshot of an object; raises MalformedLeaseError."""


class LeaseWatch:
    """The observations of one Lease, for ever.

    Args:
        api: The API server.
        target: What to watch.
    """

    def __init__(self, api: ApiServer, target: Target) -> None:
        self._api = api
        self._target = target
        self._resume_from: str | None = None
        self._newest = 0
        """Version of the newest state seen here."""
        self._shows_state = False
        """Whether a state was reported last. Then failures are not: who holds loses nothing by them until it cannot renew."""
        self._delay = constants.WATCH_RETRY_FIRST_SECONDS

    async def observations(self) -> AsyncIterator[Observation]:
        """See `LeaseStore.watch`."""
        while True:
            began, problem = now(), ""
            try:
                async with (
                    self._api.events(self._target.path, self._parameters()) as events,
                    aclosing(self._reports(events)) as reports,
                ):
                    async for observation in reports:
                        yield observation
            except ApiError as error:
                self._resume_from = None
                problem = str(error) if error.status != HTTPStatus.GONE else ""  # where it was to resume is forgotten: no news
            except StoreUnavailableError as error:
                problem = str(error)
            if problem and not self._shows_state:
                yield Observation(None, problem, unreadable=True)  # a break does not say that the Lease is gone
            await self._pause(now() - began, problem)

    def _parameters(self) -> dict[str, str]:
        parameters = {
            "fieldSelector": f"metadata.name={self._target.name}",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(random.randint(*constants.WATCH_SECONDS)),  # noqa: S311  no secret
        }
        return parameters if self._resume_from is None else parameters | {"resourceVersion": self._resume_from}

    async def _reports(self, events: EventStream) -> AsyncGenerator[Observation, None]:
        if self._resume_from is None:
            for report in await self._begin():
                yield report
        async for event in events:
            if (news := self._report(event)) is not None:
                yield news

    async def _begin(self) -> list[Observation]:
        """What there is now. The watch has begun before, so nothing is missed between."""
        try:
            snapshot = await self._target.read()
        except LimitNotFoundError as error:
            return [self._nothing(str(error))]
        except MalformedLeaseError as error:
            return [self._nothing(str(error), unreadable=True)]
        version = int(snapshot.version)
        set_back, self._newest = version < self._newest, version
        gone = [self._nothing("the API server's data are older than before: they were restored from a copy")] if set_back else []
        return [*gone, self._state(snapshot)]

    def _report(self, event: Mapping[str, Any]) -> Observation | None:
        lease = event["object"]
        self._resume_from = lease_version(lease)
        version = int(self._resume_from)
        if event["type"] == _BOOKMARK or version <= self._newest:
            return None
        self._newest = version
        if event["type"] == _DELETED:
            return self._nothing(self._target.missing)
        try:
            snapshot = self._target.understand(lease)
        except MalformedLeaseError as error:
            return self._nothing(str(error), unreadable=True)
        return self._state(snapshot)

    def _nothing(self, problem: str, *, unreadable: bool = False) -> Observation:
        self._shows_state = False
        return Observation(None, problem, unreadable)

    def _state(self, snapshot: Snapshot) -> Observation:
        self._shows_state = True
        return Observation(snapshot)

    async def _pause(self, lasted: float, problem: str) -> None:
        if lasted > self._delay:
            self._delay = constants.WATCH_RETRY_FIRST_SECONDS
            if problem:
                logger.info("The watch on Lease %r broke and begins again: %s", self._target.name, problem)
        else:
            self._delay = min(2 * self._delay, constants.WATCH_RETRY_LAST_SECONDS)
        await asyncio.sleep(random.uniform(0.5, 1) * self._delay)  # noqa: S311  no secret

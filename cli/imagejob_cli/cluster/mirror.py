"""A copy of some objects that a watch keeps up to date: nothing is asked twice, and an outage of the API server is survived."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from imagejob_cli.cluster.api import Api, Json
from imagejob_cli.cluster.constants import GIVE_UP_SECONDS, RETRY_FIRST_SECONDS, RETRY_LAST_SECONDS
from imagejob_cli.cluster.exceptions import ExpiredError, UnauthorizedError, UnreachableError
from imagejob_cli.cluster.resources import Resource

Key = tuple[str, str]
"""Namespace (empty where there is none) and name."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects."""

    resource: Resource
    """The kind."""
    namespace: str | None = None
    """Their namespace; None means all."""
    selectors: Mapping[str, str] = field(default_factory=dict)
    """`labelSelector`, `fieldSelector`."""


class Mirror:
    """The objects of a selection.

    Args:
        api: The cluster.
        selection: Which.
        changed: Called after each change of `objects`.
        say: Called with words when the cluster stops to answer, and when it answers again.
        clock: Seconds.
    """

    def __init__(
        self,
        api: Api,
        selection: Selection,
        changed: Callable[[], None],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.objects: dict[Key, Json] = {}
        """The objects that are there."""
        self.deleted: dict[Key, Json] = {}
        """Objects that are gone, as they were last."""
        self._api, self._selection = api, selection
        self._changed, self._say, self._clock = changed, say, clock
        self._version: str | None = None
        self._failing_since: float | None = None
        self._backoff = RETRY_FIRST_SECONDS

    async def list(self) -> None:
        """Reads the objects as they are now.

        Raises:
            ClusterError: That is not possible.
        """
        selection = self._selection
        listing = await self._api.list(selection.resource, selection.namespace, selection.selectors)
        before = self.objects
        self.objects = {key_of(found): found for found in listing.items}
        self.deleted |= {key: found for key, found in before.items() if key not in self.objects}
        self._version = listing.version
        self._changed()

    async def follow(self) -> None:
        """Keeps the objects up to date until it is cancelled.

        Raises:
            ClusterError: The cluster has refused it, or has not answered for a long time.
        """
        while True:
            try:
                if self._version is None:
                    await self.list()
                await self._watch()
            except ExpiredError:
                self._version = None
            except UnreachableError as error:
                await self._wait_for_cluster(error)
            except UnauthorizedError as error:  # a token that has just expired, and whose successor is not there yet
                await self._wait_for_cluster(error)

    async def _watch(self) -> None:
        selection, began = self._selection, self._clock()
        events = self._api.watch(selection.resource, selection.namespace, selection.selectors, self._version or "")
        async for kind, found in events:
            self._recovered()
            self._version = str(found.get("metadata", {}).get("resourceVersion", self._version))
            if kind != "BOOKMARK":
                self._take(kind, found)
        if self._clock() - began < 1.0:  # an API server that is shutting down ends watches as soon as they begin
            await asyncio.sleep(RETRY_FIRST_SECONDS)

    def _take(self, kind: str, found: Json) -> None:
        key = key_of(found)
        if kind == "DELETED":
            self.objects.pop(key, None)
            self.deleted[key] = found
        else:
            self.objects[key] = found
        self._changed()

    async def _wait_for_cluster(self, error: UnreachableError | UnauthorizedError) -> None:
        moment = self._clock()
        if self._failing_since is None:
            self._failing_since = moment
            self._say(f"{error.format_message()}. Trying again; what was submitted goes on.")
        if moment - self._failing_since > GIVE_UP_SECONDS:
            raise error
        await asyncio.sleep(self._backoff)
        self._backoff = min(RETRY_LAST_SECONDS, 2 * self._backoff)

    def _recovered(self) -> None:
        if self._failing_since is not None:
            self._say("The cluster answers again.")
        self._failing_since, self._backoff = None, RETRY_FIRST_SECONDS


def key_of(found: Json) -> Key:
    """Namespace and name of an object."""
    metadata = found.get("metadata") or {}
    return str(metadata.get("namespace", "")), str(metadata.get("name", ""))

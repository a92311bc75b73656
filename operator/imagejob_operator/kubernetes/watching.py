"""Watches that kopf cannot keep: of a single namespace, while others are of all of them; and of nothing but the metadata of objects."""

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final, Protocol

import aiohttp

from imagejob_operator.kubernetes.api import KubernetesApi
from imagejob_operator.kubernetes.exceptions import ApiError
from imagejob_operator.kubernetes.kinds import Kind
from imagejob_operator.manifest import Json

logger = logging.getLogger(__name__)

WATCH_SECONDS: Final = 300
"""The API server ends a watch after this time; the next one goes on from there."""
SILENT_SECONDS: Final = 90.0
"""Bookmarks come every minute, so a watch that says nothing for longer is dead."""
_FIRST_WAIT_SECONDS: Final = 0.1
_LAST_WAIT_SECONDS: Final = 30.0
_GONE: Final = 410
_ERROR: Final = "ERROR"


class Stream(Protocol):
    """Sends one request, and gives its answer line by line."""

    def __call__(self, path: str, query: Mapping[str, str], silent_seconds: float) -> AsyncIterator[bytes]:
        """The lines of the answer.

        Raises:
            ApiError: The request is refused.
            aiohttp.ClientError: The connection broke.
            TimeoutError: Nothing has come for so many seconds.
        """


async def follow(
    api: KubernetesApi, stream: Stream, kind: Kind, namespace: str, label_selector: str, report: Callable[[str | None, Json], None]
) -> None:
    """Reports the objects of a kind in one namespace, and every change of them, until cancelled.

    What was deleted while the watch was down is not reported: whoever needs to know lists now and then.
    """

    async def begin() -> str:
        since = ""
        async for page in api.pages(kind, namespace, label_selector=label_selector):
            for thing in page.items:
                report(None, thing)
            since = page.version
        return since

    await _watch(stream, kind, namespace, label_selector, report, begin)


async def follow_changes(
    stream: Stream,
    kind: Kind,
    namespace: str | None,
    label_selector: str,
    report: Callable[[str | None, Json], None],
    missed: Callable[[], None],
) -> None:
    """Reports the objects of a kind in one namespace, or in all of them, and every change of them, until cancelled.

    The API server tells of what is there when the watch begins as of what was created, so that nothing is listed.

    Args:
        stream: The connection; one for metadata alone where no more is needed.
        kind: The kind.
        namespace: Where to look; None: everywhere.
        label_selector: Which of them.
        report: Where events go.
        missed: Called when the watch has begun, at first or anew, and tells something: what was deleted before is not reported.
    """

    async def begin() -> str:
        return ""

    await _watch(stream, kind, namespace, label_selector, report, begin, missed)


async def _watch(
    stream: Stream,
    kind: Kind,
    namespace: str | None,
    label_selector: str,
    report: Callable[[str | None, Json], None],
    begin: Callable[[], Awaitable[str]],
    begun: Callable[[], None] = lambda: None,
) -> None:
    since = warned = ""
    wait = _FIRST_WAIT_SECONDS
    while True:
        try:
            anew = not since
            if anew:
                since = await begin()
            async for line in stream(kind.path(namespace), _query(since, label_selector), SILENT_SECONDS):
                event = json.loads(line)
                if anew and event["type"] != _ERROR:
                    anew = False
                    begun()
                since = _take_in(event, since, report)
                wait = _FIRST_WAIT_SECONDS
                if not since:
                    break
        except (ApiError, aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            told = logger.debug
            if isinstance(error, ApiError):
                if error.status == _GONE:
                    since = ""
                elif str(error) != warned:
                    warned, told = str(error), logger.warning
            told("The watch of %s in %s broke: %s", kind.plural, namespace or "all namespaces", error)
        await asyncio.sleep(wait * random.uniform(0.5, 1))  # noqa: S311  no secret
        wait = min(_LAST_WAIT_SECONDS, wait * 2)


def _take_in(event: Json, since: str, report: Callable[[str | None, Json], None]) -> str:
    """Reports one event; returns the version to go on from, or nothing where that is too old."""
    thing = event["object"]
    if event["type"] == _ERROR:
        return "" if thing.get("code") == _GONE else since
    if event["type"] != "BOOKMARK":
        report(event["type"], thing)
    return str(thing["metadata"]["resourceVersion"])


def _query(since: str, label_selector: str) -> dict[str, str]:
    query = {"watch": "true", "allowWatchBookmarks": "true", "labelSelector": label_selector, "timeoutSeconds": str(WATCH_SECONDS)}
    return {**query, "resourceVersion": since} if since else query

"""Requests to the API server.

Every request may be repeated: creations have names of their own, deletions may name a uid, and changes may carry the version that was
read. So an answer that got lost does no harm, and no answer, 429 and 5xx are tried again here, after the time that the server asks for.
"""

import asyncio
import builtins
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Literal, Protocol

import aiohttp

from imagejob_operator.kubernetes.exceptions import ApiError, ApiUnavailableError, NotFoundError, RefusedError, error_of
from imagejob_operator.kubernetes.kinds import Kind
from imagejob_operator.manifest import Json

REQUEST_SECONDS: Final = 15.0
ATTEMPTS: Final = 4
FIRST_WAIT_SECONDS: Final = 0.2
LONGEST_WAIT_SECONDS: Final = 10.0
FIRST_PAGE: Final = 10
"""Objects of a list's first page: nobody knows yet how large they are, and one may have more than a megabyte."""
LARGEST_PAGE: Final = 500
PAGE_BYTES: Final = 4 * 1024 * 1024
"""Of further pages: a list of any length and any objects takes this much memory at a time."""

_MERGE_PATCH: Final = "application/merge-patch+json"
_JSON: Final = "application/json"

Propagation = Literal["Background", "Foreground", "Orphan"]


class Transport(Protocol):
    """Sends one request."""

    async def __call__(
        self, method: str, path: str, query: Mapping[str, str], body: Json | None, content_type: str, timeout_seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of the answer.

        Raises:
            aiohttp.ClientError: There was none.
            TimeoutError: It took too long.
        """


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list."""

    items: list[Json]
    version: str
    """Of the whole list: where a watch goes on."""


class KubernetesApi:
    """The API server. Methods raise the errors of `imagejob_operator.kubernetes.exceptions`.

    Args:
        transport: Sends requests.
        close: Ends the transport.
        sleep: Waits between attempts.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        close: Callable[[], Awaitable[None]] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._transport = transport
        self._close = close
        self._sleep = sleep

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Json:
        """One object."""
        return await self._request("GET", kind.path(namespace, name))

    async def list(self, kind: Kind, namespace: str | None = None, *, label_selector: str = "", field_selector: str = "") -> list[Json]:
        """All objects of a kind, or those that match; of all namespaces unless one is named. For kinds of which there are few."""
        found: builtins.list[Json] = []
        async for page in self.pages(kind, namespace, label_selector=label_selector, field_selector=field_selector):
            found += page.items
        return found

    async def pages(
        self, kind: Kind, namespace: str | None = None, *, label_selector: str = "", field_selector: str = ""
    ) -> AsyncIterator[Page]:
        """As `list`, in pages that are as long as their objects are small.

        Where that takes minutes, the last ones may be of a later moment than the first.
        """
        query = {"limit": str(FIRST_PAGE), "labelSelector": label_selector, "fieldSelector": field_selector}
        while True:
            try:
                answer = await self._send("GET", kind.path(namespace), query=query)
            except RefusedError as error:
                if error.status != HTTPStatus.GONE or not error.token or error.token == query.get("continue"):
                    raise
                query["continue"] = error.token
                continue
            page = _decoded(answer)
            items = [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in page["items"]]
            query["limit"] = str(max(1, min(LARGEST_PAGE, PAGE_BYTES * len(items) // max(1, len(answer)))))
            token, version = page["metadata"].get("continue"), page["metadata"]["resourceVersion"]
            del answer, page  # whoever takes in the items may take time, and lets go of them
            yield Page(items, version)
            del items
            if not token:
                return
            query["continue"] = token

    async def served_kinds(self, group: str, version: str) -> set[str]:
        """Plurals of the kinds that the API server serves in a group."""
        try:
            found = await self._request("GET", f"/apis/{group}/{version}")
        except NotFoundError:
            return set()
        return {resource["name"] for resource in found["resources"]}

    async def create(self, kind: Kind, new: Json) -> Json:
        """Creates an object, in the namespace that it names; returns it as it was stored."""
        return await self._request("POST", kind.path(new["metadata"].get("namespace")), body=new)

    async def replace(self, kind: Kind, changed: Json, *, subresource: str = "") -> Json:
        """Writes a whole object; with ``metadata.resourceVersion`` only if it is still at that version."""
        metadata = changed["metadata"]
        return await self._request("PUT", kind.path(metadata.get("namespace"), metadata["name"], subresource), body=changed)

    async def patch(self, kind: Kind, name: str, namespace: str | None, patch: Json, *, subresource: str = "") -> Json:
        """Changes parts of an object by a JSON merge patch: null removes a field, a list replaces a list.

        With ``metadata.resourceVersion`` in it only if the object is still at that version.
        """
        return await self._request("PATCH", kind.path(namespace, name, subresource), body=patch, content_type=_MERGE_PATCH)

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        propagation: Propagation = "Background",
        grace_seconds: int | None = None,
    ) -> Json | None:
        """Deletes an object; what is gone already, or is another one than `uid`, is left as it is.

        Returns:
            The object, if it is still there until something has been done first; else None.
        """
        options: Json = {"propagationPolicy": propagation}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            answer = await self._request("DELETE", kind.path(namespace, name), body=options)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            return None
        return answer if answer.get("kind") == kind.kind and "deletionTimestamp" in answer["metadata"] else None

    async def close(self) -> None:
        """Closes the connections."""
        if self._close is not None:
            await self._close()

    async def _request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Json | None = None, content_type: str = _JSON
    ) -> Json:
        return _decoded(await self._send(method, path, query=query, body=body, content_type=content_type))

    async def _send(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Json | None = None, content_type: str = _JSON
    ) -> bytes:
        given = {key: value for key, value in (query or {}).items() if value}
        for attempt in range(ATTEMPTS):
            wait = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 4.0**attempt) * random.uniform(0.5, 1)  # noqa: S311  no secret
            try:
                status, headers, answer = await self._transport(method, path, given, body, content_type, REQUEST_SECONDS)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                failure: ApiError = ApiUnavailableError(f"{method} {path}: {str(error) or type(error).__name__}")
            else:
                if status < 300:  # noqa: PLR2004  2xx
                    return answer
                failure = failure_of(status, answer)
                wait = max(wait, min(LONGEST_WAIT_SECONDS, _seconds(headers.get("Retry-After", ""))))
            if not isinstance(failure, ApiUnavailableError) or attempt == ATTEMPTS - 1:
                raise failure
            await self._sleep(wait)
        raise AssertionError("unreachable")


def _decoded(answer: bytes) -> Json:
    content: Json = json.loads(answer) if answer else {}
    return content


def failure_of(status: int, answer: bytes) -> ApiError:
    """The error that stands for an answer that is not 2xx, from its body."""
    try:
        said = _decoded(answer)
        token = str((said.get("metadata") or {}).get("continue") or "")
        return error_of(status, str(said.get("reason", "")), str(said.get("message", "")) or f"HTTP status {status}", token)
    except (ValueError, AttributeError):
        return error_of(status, "", answer.decode(errors="replace")[:500] or f"HTTP status {status}")


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isdecimal() else 0.0

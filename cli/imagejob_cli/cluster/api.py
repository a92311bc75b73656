"""The API server, as far as the commands need it: objects as plain JSON, streams as iterators, and errors that a person can act on."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp

from imagejob_cli.cluster.constants import ANSWER_SECONDS, CONNECT_SECONDS, FIELD_MANAGER, SILENCE_SECONDS, WATCH_SECONDS
from imagejob_cli.cluster.exceptions import AccessError, UnreachableError
from imagejob_cli.cluster.kubeconfig import Target
from imagejob_cli.cluster.request import APPLY_PATCH, MERGE_PATCH, Request, refusal
from imagejob_cli.cluster.resources import POD, Resource
from imagejob_cli.wording import printable

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient, Configuration
    from kubernetes.aio.client.rest import RESTResponse

Json = dict[str, Any]

_PAGE: Final = "500"
_ANSWER: Final = aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS)
_WATCH: Final = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
_LOG: Final = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
_TLS_ERRORS: Final = (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError)


@dataclass(frozen=True, slots=True)
class Listing:
    """Objects as they were at one moment."""

    items: list[Json]
    """The objects."""
    version: str
    """The moment, from which a watch may go on."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of an object that was applied."""

    object: Json
    """As the API server has it now."""
    created: bool
    """Whether it was not there before."""
    warnings: tuple[str, ...] = ()
    """What the API server warned of."""


class Api:
    """A cluster; an async context manager around its connections.

    Args:
        target: Which cluster, and whose credentials.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._clients: list[ApiClient] = []
        self._renewing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Does nothing: credentials are read with the first request."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes the connections."""
        for client in self._clients:
            await client.close()  # type: ignore[no-untyped-call]

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Json:
        """One object."""
        return _object(await self._answer(Request("get", resource, namespace, name)))

    async def list(self, resource: Resource, namespace: str | None, selectors: Mapping[str, str]) -> Listing:
        """All objects of a kind that match, read in pages.

        Args:
            resource: The kind.
            namespace: Their namespace; None means all.
            selectors: `labelSelector`, `fieldSelector`.
        """
        items: list[Json] = []
        query = {**selectors, "limit": _PAGE}
        while True:
            page = _object(await self._answer(Request("list", resource, namespace, query=query)))
            items += page.get("items") or []
            metadata = page.get("metadata") or {}
            if not (more := metadata.get("continue")):
                return Listing(items, str(metadata.get("resourceVersion", "")))
            query["continue"] = more

    async def apply(self, resource: Resource, namespace: str | None, body: Json, *, dry_run: bool = False) -> Applied:
        """Makes an object, or gives its fields these values, by server-side apply; also fields that somebody else has set last."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict", **({"dryRun": "All"} if dry_run else {})}
        request = Request("patch", resource, namespace, str(body["metadata"]["name"]), query=query, body=body, content_type=APPLY_PATCH)
        response = await self._send(request, _ANSWER)
        answer = await _read(response)
        return Applied(_object(answer), response.status == HTTPStatus.CREATED, tuple(response.response.headers.getall("Warning", ())))

    async def merge(self, resource: Resource, namespace: str | None, name: str, patch: Json) -> Json:
        """Gives some fields of an object new values."""
        query = {"fieldManager": FIELD_MANAGER}
        return _object(await self._answer(Request("patch", resource, namespace, name, query=query, body=patch, content_type=MERGE_PATCH)))

    async def watch(
        self, resource: Resource, namespace: str | None, selectors: Mapping[str, str], version: str
    ) -> AsyncIterator[tuple[str, Json]]:
        """What happens after `version`: type (ADDED, MODIFIED, DELETED, BOOKMARK) and object. Ends when the API server ends it.

        Raises:
            ExpiredError: `version` is too old; list again.
            UnreachableError: The stream broke; go on from the last version.
        """
        query = {
            **selectors,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        request = Request("watch", resource, namespace, query=query)
        async for line in self._lines(request, _WATCH):
            event = _object(line)
            kind, found = event.get("type"), event.get("object")
            if kind == "ERROR" or not isinstance(kind, str) or not isinstance(found, dict):
                code = found.get("code") if isinstance(found, dict) else None
                raise refusal(request, code if isinstance(code, int) else 500, json.dumps(found).encode(), self.target)
            yield kind, found

    async def log(self, namespace: str, pod: str, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        """The lines of a pod's log.

        Args:
            namespace: Of the pod.
            pod: Its name.
            query: `container`, `follow` and so on.
        """
        async for line in self._lines(Request("get", POD, namespace, pod, "log", query=query), _LOG):
            yield line

    async def _lines(self, request: Request, limits: aiohttp.ClientTimeout) -> AsyncIterator[bytes]:
        """Lines of a stream, of any length."""
        response = await self._send(request, limits)
        rest = b""
        try:
            async for data in response.response.content.iter_any():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    yield line
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(f"the stream of {request.subject} broke: {error or type(error).__name__}") from error
        finally:
            response.response.close()
        if rest:
            yield rest

    async def _answer(self, request: Request) -> bytes:
        return await _read(await self._send(request, _ANSWER))

    async def _send(self, request: Request, limits: aiohttp.ClientTimeout) -> RESTResponse:
        """Sends it; once more with credentials read anew if they are not accepted, since tokens expire."""
        known = self._client
        client = known or await self._renew(None)
        response = await self._send_once(client, request, limits)
        if response.status == HTTPStatus.UNAUTHORIZED and client is known:
            response.response.release()
            response = await self._send_once(await self._renew(client), request, limits)
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise refusal(request, response.status, await _read(response), self.target)
        return response

    async def _send_once(self, client: ApiClient, request: Request, limits: aiohttp.ClientTimeout) -> RESTResponse:
        try:
            method, url, headers, body, _ = await client.param_serialize(
                request.method,
                request.path,
                query_params=list(request.query.items()),
                header_params={"Content-Type": request.content_type, "Accept": "application/json, */*"},
                body=request.body,
                auth_settings=["BearerToken"],
            )
            return await client.call_api(method, url, headers, body, _request_timeout=limits)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(error, client.configuration.host, self.target) from error

    async def _renew(self, rejected: ApiClient | None) -> ApiClient:
        """A client with other credentials than the rejected one's. That one is kept open, since streams may still run on it."""
        async with self._renewing:
            if self._client is rejected:
                self._clients.append(await _client(self.target))
            return self._clients[-1]

    @property
    def _client(self) -> ApiClient | None:
        return self._clients[-1] if self._clients else None


async def _client(target: Target) -> ApiClient:
    """A client with credentials that were read just now."""
    from kubernetes.aio.client import ApiClient, Configuration
    from kubernetes.aio.config import ConfigException

    configuration = Configuration()
    try:
        await _read_credentials(target, configuration)
        client = ApiClient(configuration)
    # The client library checks little of what it reads, and stumbles over a kubeconfig that leaves something out.
    except (ConfigException, OSError, ssl.SSLError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise AccessError(f"the credentials of {target} cannot be used: {error}") from error
    client.user_agent = FIELD_MANAGER
    return client


async def _read_credentials(target: Target, configuration: Configuration) -> None:
    from kubernetes.aio.config import load_incluster_config, load_kube_config

    if not target.files:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        return
    files = os.pathsep.join(map(str, target.files))
    await load_kube_config(  # type: ignore[no-untyped-call]
        config_file=files, context=target.context, client_configuration=configuration, persist_config=False
    )


async def _read(response: RESTResponse) -> bytes:
    try:
        content: bytes = await response.response.read()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UnreachableError(f"the cluster's answer broke off: {error or type(error).__name__}") from error
    return content


def _object(text: bytes) -> Json:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UnreachableError("the cluster's answer is not what an API server says; is something else at its address?")
    return found


def _unreachable(error: Exception, host: str, target: Target) -> UnreachableError:
    if isinstance(error, _TLS_ERRORS):
        return UnreachableError(f"the cluster at {printable(host)} of {target} is not trusted: {printable(str(error))}")
    why = "no answer in time" if isinstance(error, TimeoutError) else printable(str(error) or type(error).__name__)
    hint = "check that it runs and that this is the cluster you mean (kubectl config get-contexts)"
    return UnreachableError(f"the cluster at {printable(host)} of {target} cannot be reached: {why}; {hint}")

"""Requests to the API server over connections that are kept, and what can go wrong with them.

Plain HTTP, because that is all it takes: three kinds of request on one kind of object, and the objects are needed as the JSON that they
are, with the fields that this version does not know.
"""

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final, Self

import aiohttp

from nodelease.clock import now
from nodelease.exceptions import StoreUnavailableError
from nodelease.kubernetes import constants
from nodelease.kubernetes.access import Access, Credentials

_ONE: Final = aiohttp.ClientTimeout(total=constants.REQUEST_SECONDS, sock_connect=constants.CONNECT_SECONDS)
_STREAM: Final = aiohttp.ClientTimeout(total=None, sock_connect=constants.CONNECT_SECONDS, sock_read=constants.WATCH_SILENCE_SECONDS)


class ApiError(StoreUnavailableError):
    """The API server answered, and said no.

    Args:
        status: HTTP status, or the code of an event that says the same.
        message: Why.
        pause: Seconds after which it wants to be asked again, if it named any.
    """

    def __init__(self, status: int, message: str, pause: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.pause = pause


class EventStream:
    """The events of a watch, until the API server ends it.

    Args:
        response: The answer that they come in.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, Any]:
        line = await self._response.content.readline()
        if not line:
            raise StopAsyncIteration
        event = _parsed(line)
        if event["type"] == "ERROR":
            status = event["object"]
            raise ApiError(status.get("code") or HTTPStatus.INTERNAL_SERVER_ERROR, f"watch: {status.get('message') or status}")
        return event

    def abort(self) -> None:
        """Break the connection. To end it in order would take an answer, for which nobody waits."""
        connection = self._response.connection  # None once all has arrived: then it may be another request's
        if connection is not None and connection.transport is not None:
            connection.transport.abort()


class ApiServer:
    """The API server, for one event loop.

    Args:
        access: Where it is and how to be let in.
        hint: What to tell whoever lacks a right.
        patience: Seconds in which one request is repeated, in all, when the API server says when to come again.
    """

    def __init__(self, access: Access, hint: str = "", patience: float = constants.PATIENCE_SECONDS) -> None:
        self._access = access
        self._hint = hint
        self._patience = patience
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """The object that the API server answers with.

        Repeated when it refuses the token or shows another certificate, with the newest ones, and when it says when to come again.

        Raises:
            ApiError: It said no.
            StoreUnavailableError: It could not be asked, or did not answer in time.
        """
        async with self._answered(method, path, _ONE, parameters, body, content_type) as response:
            return _parsed(await response.read())

    @asynccontextmanager
    async def events(self, path: str, parameters: Mapping[str, str]) -> AsyncIterator["EventStream"]:
        """A watch, which has begun by then.

        Raises:
            ApiError: It said no, now or in the stream.
            StoreUnavailableError: It could not be asked, or the stream broke.
        """
        async with self._answered("GET", path, _STREAM, {**parameters, "watch": "true"}) as response:
            stream = EventStream(response)
            try:
                yield stream
            finally:
                stream.abort()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            for _ in range(2):
                await asyncio.sleep(0)  # asyncio closes the sockets in the loop's next rounds

    @asynccontextmanager
    async def _answered(
        self,
        method: str,
        path: str,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  aiohttp's own
        parameters: Mapping[str, str] | None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A good answer. Errors while it is read are translated, too."""
        give_up = now() + self._patience
        renewed = False
        headers = {} if body is None else {"Content-Type": content_type}
        while True:
            credentials = await self._access.credentials(renewed=renewed)
            try:
                async with self._ask(credentials, method, path, headers, timeout=timeout, params=parameters, json=body) as response:
                    if response.ok:
                        yield response
                        return
                    refusal = await self._refused(method, path, response)
                    error: StoreUnavailableError = refusal
                    pause = refusal.pause
            except aiohttp.ClientConnectorCertificateError as problem:  # the cluster's own certificate may have been replaced
                error, pause = StoreUnavailableError(f"{credentials.server} is not whom it should be: {problem}"), None
            except (aiohttp.ClientError, OSError, ValueError) as problem:
                raise StoreUnavailableError(f"{credentials.server}: {str(problem) or type(problem).__name__}") from problem
            if pause is not None and now() + pause < give_up:
                await asyncio.sleep(pause)
            elif _refuses_credentials(error) and not renewed:
                renewed = True
            else:
                raise error

    async def _refused(self, method: str, path: str, response: aiohttp.ClientResponse) -> ApiError:
        hint = f". {self._hint}" if self._hint and response.status == HTTPStatus.FORBIDDEN else ""
        message = f"{method} {path}: {response.status}: {_complaint(await response.read())}{hint}"
        return ApiError(response.status, message, _retry_after(response))

    def _ask(self, credentials: Credentials, method: str, path: str, headers: Mapping[str, str], **arguments: Any) -> Any:  # noqa: ANN401  aiohttp's
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=constants.KEEP_ALIVE_SECONDS, socket_factory=_probed_socket)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept": "application/json", "User-Agent": "nodelease"},
                read_bufsize=constants.EVENT_BYTES,
            )
        if credentials.authorization is not None:
            headers = {**headers, "Authorization": credentials.authorization}
        return self._session.request(
            method,
            credentials.server + path,
            headers=headers,
            ssl=credentials.trust,
            server_hostname=credentials.server_hostname,
            proxy=credentials.proxy,
            allow_redirects=False,
            **arguments,
        )


def _complaint(text: bytes) -> str:
    """What is wrong: the message of a Status, or what else there is."""
    try:
        return str(_parsed(text)["message"])
    except (ValueError, KeyError):
        return text[:200].decode(errors="replace").strip()


def _parsed(text: bytes) -> dict[str, Any]:
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError(f"no object: {text[:80]!r}")  # noqa: TRY004  as what is no JSON
    return document


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Seconds after which to ask again, if the API server names any. It sends whole seconds, never a date, and the same to everybody."""
    text = response.headers.get("Retry-After", "")
    busy = response.status == HTTPStatus.TOO_MANY_REQUESTS or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return max(int(text), 1) * random.uniform(1, 1.5) if busy and text.isdecimal() else None  # noqa: S311  no secret


def _refuses_credentials(error: StoreUnavailableError) -> bool:
    return not isinstance(error, ApiError) or error.status == HTTPStatus.UNAUTHORIZED


def _probed_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket whose connection breaks when the other end has gone without a word."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, constants.PROBE_IDLE_SECONDS)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, constants.PROBE_INTERVAL_SECONDS)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, constants.PROBE_COUNT)
    return made

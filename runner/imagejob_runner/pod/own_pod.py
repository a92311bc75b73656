"""The one thing that a runner changes in the cluster besides Leases: an annotation of its own pod."""

from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import aiohttp

from nodelease import StoreUnavailableError
from nodelease.kubernetes.access import Access, Credentials

TIMEOUT_SECONDS: Final = 5.0
_SHOWN: Final = 200
_AT_MOST_SECONDS: Final = 300.0


class ReportError(Exception):
    """The annotation could not be written.

    Args:
        message: Why.
        pause: Seconds that the API server asks to wait.
    """

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


class OwnPod:
    """This pod, as an object of the API server.

    Args:
        access: Where the API server is and how to be let in.
        namespace: The pod's.
        name: The pod's.
    """

    def __init__(self, access: Access, namespace: str, name: str) -> None:
        self._access = access
        self._path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"
        self._session: aiohttp.ClientSession | None = None

    async def annotate(self, key: str, value: str) -> None:
        """Sets one annotation.

        Raises:
            ReportError: The API server refuses it or does not answer.
        """
        try:
            status, text, retry_after = await self._patch(await self._access.credentials(), key, value)
            if status == HTTPStatus.UNAUTHORIZED:  # the token has been replaced since it was read
                status, text, retry_after = await self._patch(await self._access.credentials(renewed=True), key, value)
        except (aiohttp.ClientError, TimeoutError, OSError, StoreUnavailableError) as error:
            raise ReportError(f"the API server cannot be reached: {error or type(error).__name__}") from error
        if status != HTTPStatus.OK:
            pause = min(float(retry_after), _AT_MOST_SECONDS) if retry_after.isdecimal() else 0.0
            raise ReportError(f"PATCH {self._path}: {status}: {text}", pause)

    async def close(self) -> None:
        """Closes the connection."""
        if self._session is not None:
            await self._session.close()

    async def _patch(self, credentials: Credentials, key: str, value: str) -> tuple[int, str, str]:
        """Status, beginning of the answer, and its Retry-After header."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        headers = {"Content-Type": "application/merge-patch+json", "User-Agent": "imagejob-runner"}
        if credentials.authorization is not None:
            headers["Authorization"] = credentials.authorization
        async with self._session.patch(
            credentials.server + self._path,
            params={"fieldManager": "imagejob-runner"},
            json={"metadata": {"annotations": {key: value}}},
            headers=headers,
            ssl=credentials.trust,
            server_hostname=credentials.server_hostname,
            proxy=credentials.proxy,
            allow_redirects=False,
        ) as response:
            return response.status, (await response.text())[:_SHOWN], response.headers.get("Retry-After", "")

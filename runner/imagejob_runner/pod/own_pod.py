"""The one thing that a runner changes in the cluster besides Leases: an annotation of its own pod."""

from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from nodelease import StoreUnavailableError
from nodelease.kubernetes.access import Access
from nodelease.kubernetes.api import ApiError, ApiServer

FIELD_MANAGER: Final = "imagejob-runner"
"""Whom the API server names as the writer of the annotation."""
_AT_MOST_SECONDS: Final = 300.0


class ReportError(Exception):
    """The annotation could not be written.

    Args:
        message: Why.
        pause: Seconds that the API server asks to wait.
        unknown: Whether the API server does not know this pod's token, newly read, for one of its own.
    """

    def __init__(self, message: str, pause: float = 0.0, *, unknown: bool = False) -> None:
        super().__init__(message)
        self.pause, self.unknown = pause, unknown


class OwnPod:
    """This pod, as an object of the API server.

    Args:
        access: Where the API server is and how to be let in.
        namespace: The pod's.
        name: The pod's.
    """

    def __init__(self, access: Access, namespace: str, name: str) -> None:
        # Without patience: a report that has to wait is made of what is true by then.
        self._api = ApiServer(access, patience=0)
        self._path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"

    async def annotate(self, key: str, value: str) -> None:
        """Sets one annotation.

        Raises:
            ReportError: The API server refuses it or does not answer.
        """
        patch = {"metadata": {"annotations": {key: value}}}
        try:
            await self._api.request("PATCH", self._path, {"fieldManager": FIELD_MANAGER}, patch, "application/merge-patch+json")
        except ApiError as error:
            pause = min(error.pause or 0.0, _AT_MOST_SECONDS)
            raise ReportError(str(error), pause, unknown=error.status == HTTPStatus.UNAUTHORIZED) from error
        except StoreUnavailableError as error:
            raise ReportError(f"the API server cannot be reached: {error}") from error

    async def close(self) -> None:
        """Closes the connection."""
        await self._api.close()

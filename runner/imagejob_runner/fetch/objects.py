"""Reads objects of s3, gs and az, and says in a row's words what an object store says in its own."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import (
    BaseError,
    InvalidPathError,
    PermissionDeniedError,
    UnauthenticatedError,
)

from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError
from imagejob_runner.storage.store_errors import brief, is_missing
from imagejob_runner.storage.stores import open_store
from imagejob_runner.urls import ObjectUrl

if TYPE_CHECKING:
    from obstore import GetResult

_BLOCK_BYTES: Final = 1 << 20


class ObjectBody:
    """An object that has been opened.

    Args:
        result: What the store answered.
        url: The object's URL, for messages.
    """

    def __init__(self, result: "GetResult", url: str) -> None:
        self._result = result
        self._url = url
        self.size: int | None = result.meta["size"]
        self.version: str | None = result.meta["e_tag"] or result.meta["last_modified"].isoformat()

    async def blocks(self) -> AsyncIterator[bytes]:
        """See `Body.blocks`."""
        try:
            async for block in self._result.stream(min_chunk_size=_BLOCK_BYTES):
                yield bytes(block)
        except (BaseError, OSError, ValueError) as error:
            raise _as_image_error(error, self._url) from error


async def open_object(location: ObjectUrl, url: str) -> ObjectBody:
    """Opens an object.

    Raises:
        ImageError: It cannot be had.
    """
    if not location.key:
        raise ImageError(ErrorCode.INVALID_URL, f"{url} names a bucket, not an object in it")
    try:
        return ObjectBody(await obstore.get_async(open_store(location.scheme, location.bucket), location.key), url)
    except (BaseError, OSError, ValueError) as error:
        raise _as_image_error(error, url) from error


def _as_image_error(error: Exception, url: str) -> ImageError:
    if is_missing(error):
        return ImageError(ErrorCode.NOT_FOUND, f"{url} does not exist: {brief(error)}")
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return ImageError(ErrorCode.PERMISSION_DENIED, f"{url} may not be read with the credentials of the environment: {brief(error)}")
    if isinstance(error, ValueError | InvalidPathError):
        return ImageError(ErrorCode.INVALID_URL, f"{url}: {brief(error)}")
    return ImageError(ErrorCode.STORAGE_FAILED, f"{url} cannot be read: {brief(error)}", retryable=True)

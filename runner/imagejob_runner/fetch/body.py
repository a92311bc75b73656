"""What all ways to fetch have in common: a body that is read in blocks and never past its bound."""

from collections.abc import AsyncIterator
from typing import Protocol

from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError


class Body(Protocol):
    """The bytes of one URL, opened but not read."""

    @property
    def size(self) -> int | None:
        """Size in bytes as announced, which may be a lie; None when nothing was announced."""

    @property
    def version(self) -> str | None:
        """A text that changes whenever the bytes change; None when the other side gives none."""

    def blocks(self) -> AsyncIterator[bytes]:
        """The bytes, as they come. Can be iterated once."""


def too_large(url: str, limit: int, size: int | None = None) -> ImageError:
    """The error of a body that is larger than the step allows."""
    found = f"has {size} bytes" if size is not None else "goes on past the limit"
    return ImageError(ErrorCode.BODY_TOO_LARGE, f"{url} {found}; download.maxBytes allows {limit}")


async def read_bounded(body: Body, url: str, limit: int) -> bytes:
    """All bytes of a body.

    Args:
        body: The body.
        url: Its URL, for messages.
        limit: Largest number of bytes accepted.

    Raises:
        ImageError: BodyTooLarge, before more than `limit` bytes and one block are in memory; or what reading raised.
    """
    if body.size is not None and body.size > limit:
        raise too_large(url, limit, body.size)
    blocks: list[bytes] = []
    count = 0
    async for block in body.blocks():
        count += len(block)
        if count > limit:
            raise too_large(url, limit)
        blocks.append(block)
    return b"".join(blocks)

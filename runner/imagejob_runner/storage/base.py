"""The interface of an output, and the rule that keeps every name inside it."""

from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import NamedTuple, Protocol

from imagejob_runner.exceptions import StorageError


class Version(NamedTuple):
    """Tells the bytes that were read under a name from all others that it may have had or have."""

    token: str
    """The store's own tag of them; the digest where it has none."""
    generation: str | None = None
    """What some stores have besides."""


class OutputStore(Protocol):
    """A flat space of named byte strings. Each write is atomic: a reader sees all of it or nothing.

    All methods raise `StorageError` when the storage cannot be used.
    """

    @property
    def url(self) -> str:
        """Where the output is, as the user wrote it."""

    async def check(self) -> None:
        """Makes sure that the output can be written to, within seconds. Leaves nothing behind but, in an object store, `WRITABLE_FILE`.

        Raises:
            StorageRefusedError: It cannot, and will not before somebody changes something.
            StorageAwayError: It cannot at this moment.
        """

    async def create(self, name: str, data: bytes) -> bool:
        """Writes a name that must not exist yet.

        Returns:
            False when it exists already, whoever wrote it; then nothing is changed. The first writer wins.
        """

    async def exchange(self, name: str, data: bytes, version: Version) -> bool:
        """Writes a name over the version that was read.

        Returns:
            False when another version is there by now, or none; then nothing is changed.
        """

    async def replace(self, name: str, data: bytes) -> None:
        """Writes a name, whether it exists or not."""

    async def replace_file(self, name: str, path: Path) -> None:
        """Like `replace`, with the contents of a local file, which need not fit into memory."""

    async def delete(self, name: str) -> None:
        """Removes a name; one that does not exist is no error."""

    async def read(self, name: str) -> bytes | None:
        """All bytes of a name; None when it does not exist."""

    async def read_version(self, name: str) -> tuple[bytes, Version] | None:
        """All bytes of a name, and which version they are; None when it does not exist."""

    def lines(self, name: str) -> AsyncGenerator[bytes, None]:
        """The lines of a name, streamed, each with its newline, if it ends. A name that does not exist is a `StorageError`."""

    def names(self, folder: str = "") -> AsyncIterator[str]:
        """All names below a folder, sorted; none when there is no such folder."""

    async def clean_up(self) -> None:
        """Removes what writers that were killed have left. Readers never see it."""


def checked_name(name: str) -> str:
    """The name, if it stays inside the output.

    Raises:
        StorageError: It does not. Names are made by imagejob itself, so this is a defect, not a user's mistake.
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") or not part.isprintable() for part in parts):
        raise StorageError(f"{name!r} cannot be a name in an output; please report this as a defect of imagejob")
    return name

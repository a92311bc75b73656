"""An output in a folder: written beside its place, flushed to the disk, then put into it.

A power cut or a kill at any moment leaves either no file or a whole one.
"""

import asyncio
import contextlib
import errno
import os
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from imagejob_runner.exceptions import StorageAwayError, StorageError, StorageRefusedError
from imagejob_runner.storage.base import Version, checked_name
from imagejob_runner.storage.placing import LOCK_FILE, TEMPORARY, place_new, place_over, version_of

# A writer needs its temporary file for milliseconds, and makes another one if it is taken away.
_LEFTOVER_AFTER_SECONDS: Final = 600.0
_COPY_BYTES: Final = 1 << 20
_CHECK_SECONDS: Final = 8.0
_REFUSALS: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
"""Errors of a file system that come again until somebody changes something; not a full disk, nor a server that does not answer."""

_Result = TypeVar("_Result")


class LocalOutput:
    """An output in a folder of this machine.

    Args:
        root: The folder; made when something is written first.
        url: What the user called it.
    """

    def __init__(self, root: Path, url: str) -> None:
        self.url = url
        self._root = root.absolute()

    async def check(self) -> None:
        """See `OutputStore.check`. Writes a file into the folder, or where the folder would be made, and takes it away."""
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await asyncio.to_thread(self._check)
        except OSError as error:  # TimeoutError is one: a network file system whose server is away keeps whoever asks
            kind = StorageRefusedError if error.errno in _REFUSALS else StorageAwayError
            raise kind(self._failure("write", "", error)) from error

    async def create(self, name: str, data: bytes) -> bool:
        """See `OutputStore.create`."""
        return await self._in_thread("write", name, lambda: self._create(self._path(name), data))

    async def exchange(self, name: str, data: bytes, version: Version) -> bool:
        """See `OutputStore.exchange`."""
        return await self._in_thread("write", name, lambda: self._exchange(self._path(name), data, version.token))

    async def replace(self, name: str, data: bytes) -> None:
        """See `OutputStore.replace`."""
        await self._in_thread("write", name, lambda: self._replace(self._path(name), [data]))

    async def replace_file(self, name: str, path: Path) -> None:
        """See `OutputStore.replace_file`."""

        def copy() -> None:
            with path.open("rb") as file:
                self._replace(self._path(name), iter(lambda: file.read(_COPY_BYTES), b""))

        await self._in_thread("write", name, copy)

    async def delete(self, name: str) -> None:
        """See `OutputStore.delete`."""

        def unlink() -> None:
            path = self._path(name)
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
                _sync_folder(path.parent)

        await self._in_thread("delete", name, unlink)

    async def read(self, name: str) -> bytes | None:
        """See `OutputStore.read`."""

        def read() -> bytes | None:
            try:
                return self._path(name).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

        return await self._in_thread("read", name, read)

    async def read_version(self, name: str) -> tuple[bytes, Version] | None:
        """See `OutputStore.read_version`."""
        data = await self.read(name)
        return None if data is None else (data, Version(version_of(data)))

    async def lines(self, name: str) -> AsyncGenerator[bytes, None]:
        """See `OutputStore.lines`."""
        file = await self._in_thread("read", name, lambda: self._path(name).open("rb"))
        with file:
            while batch := await self._in_thread("read", name, lambda: file.readlines(_COPY_BYTES)):
                for line in batch:
                    yield line

    async def names(self, folder: str = "") -> AsyncIterator[str]:
        """See `OutputStore.names`."""
        start = self._root / checked_name(folder) if folder else self._root
        for name in await self._in_thread("list", folder, lambda: sorted(self._walk(start))):
            yield name

    async def clean_up(self) -> None:
        """See `OutputStore.clean_up`."""

        def remove() -> None:
            before = time.time() - _LEFTOVER_AFTER_SECONDS
            for folder, _, files in os.walk(self._root):
                for name in files:
                    path = Path(folder, name)
                    if name.startswith(TEMPORARY):
                        with contextlib.suppress(FileNotFoundError):
                            if path.stat().st_mtime < before:
                                path.unlink()

        await self._in_thread("clean", "", remove)

    def _path(self, name: str) -> Path:
        return self._root / checked_name(name)

    def _walk(self, start: Path) -> Iterator[str]:
        def failed(error: OSError) -> None:
            # A folder that is not there holds nothing; one that cannot be read must not look as if it held nothing.
            if not isinstance(error, FileNotFoundError):
                raise error

        for folder, _, files in os.walk(start, onerror=failed):
            below = Path(folder).relative_to(self._root)
            yield from ((below / name).as_posix() for name in files if name != LOCK_FILE and not name.startswith(TEMPORARY))

    def _create(self, path: Path, data: bytes) -> bool:
        if path.exists():
            return False
        while True:
            with self._written(path, [data]) as temporary:
                try:
                    placed = place_new(temporary, path)
                except FileNotFoundError:
                    continue  # somebody took this writer for dead and cleaned up
                if placed:
                    _sync_folder(path.parent)
                return placed

    def _exchange(self, path: Path, data: bytes, version: str) -> bool:
        with self._written(path, [data]) as temporary:
            placed = place_over(temporary, path, version)
            if placed:
                _sync_folder(path.parent)
            return placed

    def _replace(self, path: Path, blocks: Iterator[bytes] | list[bytes]) -> None:
        with self._written(path, blocks) as temporary:
            temporary.replace(path)
            _sync_folder(path.parent)

    @contextlib.contextmanager
    def _written(self, path: Path, blocks: Iterator[bytes] | list[bytes]) -> Iterator[Path]:
        """A temporary file beside `path` whose contents have reached the disk; gone at the end unless renamed."""
        _make_folder(path.parent)
        temporary = path.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
        try:
            with temporary.open("xb") as file:
                file.writelines(blocks)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    async def _in_thread(self, verb: str, name: str, work: Callable[[], _Result]) -> _Result:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise StorageError(self._failure(verb, name, error)) from error

    def _check(self) -> None:
        folder = self._root
        while not folder.exists():
            folder = folder.parent
        file = folder / f"{TEMPORARY}{uuid.uuid4().hex}"
        try:
            file.write_bytes(b".")
        finally:
            with contextlib.suppress(OSError):
                file.unlink()

    def _failure(self, verb: str, name: str, error: OSError) -> str:
        """What went wrong, where, and what to do."""
        place = self._root / name if name else self._root
        reason = error.strerror or str(error) or "no answer"
        return f"cannot {verb} {place}: {reason}; check that the folder exists, is writable and has space"


def _make_folder(folder: Path) -> None:
    """Makes a folder and its parents so that they survive a power cut."""
    missing: list[Path] = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some volumes keep names safe by themselves and have no such call for folders.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)

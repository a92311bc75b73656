"""An output in an object store: single puts are atomic there, and a conditional put lets the first writer win."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from imagejob_runner.constants import WRITABLE_FILE
from imagejob_runner.exceptions import StorageAwayError, StorageError, StorageRefusedError
from imagejob_runner.storage.base import Version, checked_name
from imagejob_runner.storage.store_errors import brief, is_denied, is_missing, is_refusal, is_untimely
from imagejob_runner.storage.stores import Store, open_store
from imagejob_runner.urls import ObjectUrl, object_url

if TYPE_CHECKING:
    from obstore import UpdateVersion

_CONFLICTS: Final = 8
_FIRST_WAIT_SECONDS: Final = 0.05
_STREAM_BYTES: Final = 1 << 20
_LIST_CHUNK: Final = 1000
_CHECK_SECONDS: Final = 8.0
"""Finding credentials may take requests of its own, each of which has a time limit."""
_WRITABLE: Final = b"Written by imagejob, to see that this output can be written to.\n"


class ObjectOutput:
    """An output below a prefix of a bucket.

    Args:
        location: The bucket and the prefix.
        url: What the user called it.
    """

    def __init__(self, location: ObjectUrl, url: str) -> None:
        self.url = url
        self._location = location
        prefix = location.key.strip("/")
        self._prefix = f"{prefix}/" if prefix else ""

    async def check(self) -> None:
        """See `OutputStore.check`. One request, and the very one that every commit makes: a put that must not overwrite."""
        try:
            store = open_store(self._location.scheme, self._location.bucket, hasty=True)
        except (BaseError, ValueError) as error:  # no account, or a setting that nothing can be made of
            advice = "check the variables in the environment that name account, endpoint and credentials"
            raise StorageRefusedError(f"cannot write {self._named(WRITABLE_FILE)}: {brief(error)}; {advice}") from error
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await obstore.put_async(store, self._key(WRITABLE_FILE), _WRITABLE, mode="create")
        except AlreadyExistsError:
            return  # whose rights do not suffice is not told that
        except TimeoutError:
            raise StorageAwayError(self._failure("write", WRITABLE_FILE, TimeoutError("no answer"))) from None
        except (BaseError, OSError, ValueError) as error:
            kind = StorageRefusedError if is_refusal(error) else StorageAwayError
            raise kind(self._failure("write", WRITABLE_FILE, error)) from error

    async def create(self, name: str, data: bytes) -> bool:
        """See `OutputStore.create`."""
        key = self._key(name)
        for attempt in range(_CONFLICTS):
            try:
                await obstore.put_async(self._store, key, data, mode="create")
            except AlreadyExistsError:
                # Either 412, it is there; or 409, another writer is at it and may yet fail. Looking tells one from the other.
                if await self._exists(key):
                    return False
                await asyncio.sleep(random.uniform(0, _FIRST_WAIT_SECONDS * 2**attempt))  # noqa: S311  spreads writers, guards nothing
            except (BaseError, OSError, ValueError) as error:
                self._fail("write", name, error)
            else:
                return True
        raise StorageError(f"cannot write {self._named(name)}: {_CONFLICTS} attempts ended in a conflict with other writers; run again")

    async def exchange(self, name: str, data: bytes, version: Version) -> bool:
        """See `OutputStore.exchange`."""
        mode: UpdateVersion = {"e_tag": version.token}
        if version.generation is not None:
            mode["version"] = version.generation
        try:
            await obstore.put_async(self._store, self._key(name), data, mode=mode)
        except (AlreadyExistsError, FileNotFoundError, PreconditionError):
            return False
        except (BaseError, OSError, ValueError) as error:
            self._fail("write", name, error)
        return True

    async def replace(self, name: str, data: bytes) -> None:
        """See `OutputStore.replace`."""
        await self._put(name, data)

    async def replace_file(self, name: str, path: Path) -> None:
        """See `OutputStore.replace_file`."""
        await self._put(name, path)

    async def delete(self, name: str) -> None:
        """See `OutputStore.delete`."""
        try:
            with contextlib.suppress(FileNotFoundError):
                await obstore.delete_async(self._store, self._key(name))
        except (BaseError, OSError, ValueError) as error:
            self._fail("delete", name, error)

    async def read(self, name: str) -> bytes | None:
        """See `OutputStore.read`."""
        try:
            result = await obstore.get_async(self._store, self._key(name))
            return bytes(await result.bytes_async())
        except FileNotFoundError:
            return None
        except (BaseError, OSError, ValueError) as error:
            self._fail("read", name, error)

    async def read_version(self, name: str) -> tuple[bytes, Version] | None:
        """See `OutputStore.read_version`."""
        try:
            result = await obstore.get_async(self._store, self._key(name))
            meta = result.meta
            return bytes(await result.bytes_async()), Version(meta.get("e_tag") or "", meta.get("version"))
        except FileNotFoundError:
            return None
        except (BaseError, OSError, ValueError) as error:
            self._fail("read", name, error)

    async def lines(self, name: str) -> AsyncGenerator[bytes, None]:
        """See `OutputStore.lines`."""
        rest = b""
        try:
            result = await obstore.get_async(self._store, self._key(name))
            async for block in result.stream(min_chunk_size=_STREAM_BYTES):
                *whole, rest = (rest + bytes(block)).split(b"\n")
                for line in whole:
                    yield line + b"\n"
        except (BaseError, OSError, ValueError) as error:
            self._fail("read", name, error)
        if rest:
            yield rest

    async def names(self, folder: str = "") -> AsyncIterator[str]:
        """See `OutputStore.names`."""
        prefix = self._prefix + (f"{checked_name(folder)}/" if folder else "")
        found: list[str] = []
        try:
            async for batch in obstore.list(self._store, prefix.rstrip("/") or None, chunk_size=_LIST_CHUNK):
                found.extend(entry["path"].removeprefix(self._prefix) for entry in batch)
        except (BaseError, OSError, ValueError) as error:
            self._fail("list", folder, error)
        for name in sorted(found):
            yield name

    async def clean_up(self) -> None:
        """See `OutputStore.clean_up`. A put that did not end leaves nothing."""

    @property
    def _store(self) -> Store:
        return open_store(self._location.scheme, self._location.bucket)

    def _key(self, name: str) -> str:
        return self._prefix + checked_name(name)

    async def _exists(self, key: str) -> bool:
        try:
            await obstore.head_async(self._store, key)
        except FileNotFoundError:
            return False
        except (BaseError, OSError) as error:
            self._fail("read", key.removeprefix(self._prefix), error)
        return True

    async def _put(self, name: str, contents: bytes | Path) -> None:
        try:
            await obstore.put_async(self._store, self._key(name), contents)
        except (BaseError, OSError, ValueError) as error:
            self._fail("write", name, error)

    def _named(self, name: str) -> str:
        return object_url(ObjectUrl(self._location.scheme, self._location.bucket, self._prefix + name))

    def _fail(self, verb: str, name: str, error: Exception) -> NoReturn:
        raise StorageError(self._failure(verb, name, error)) from error

    def _failure(self, verb: str, name: str, error: Exception) -> str:
        """What went wrong, where, and what to do."""
        bucket = f"{self._location.scheme}://{self._location.bucket}"
        if is_untimely(error):
            advice = "check the clock here, and renew the credentials in the environment if they have expired"
        elif is_denied(error) and is_refusal(error):
            advice = "check the credentials in the environment and what they may do"
        elif is_missing(error):
            advice = f"make the bucket {bucket}, or correct output.url, the endpoint or the access key: one of them is unknown there"
        else:
            advice = "check the endpoint and the network, then run again"
        return f"cannot {verb} {self._named(name)}: {brief(error)}; {advice}"

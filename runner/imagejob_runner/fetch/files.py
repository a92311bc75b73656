"""Brings whole files to this machine: models, label lists and manifests, which are read from a path and may be larger than memory."""

import asyncio
import contextlib
import hashlib
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from imagejob_api.pipeline import Download
from imagejob_api.redaction import shown_url
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError, InvalidJobError, StorageError
from imagejob_runner.fetch.body import Body
from imagejob_runner.fetch.objects import open_object
from imagejob_runner.urls import FileUrl, HttpUrl, ObjectUrl, parse_url

_STALL_SECONDS: Final = 60.0
CACHE_VARIABLE: Final = "IMAGEJOB_CACHE"
"""Names the folder of copies of models and label lists."""
_WRONG_URL: Final = {ErrorCode.NOT_FOUND, ErrorCode.ADDRESS_FORBIDDEN, ErrorCode.INVALID_URL}
"""What no other attempt can help, while credentials and networks may be put right outside of the job."""
_NETWORKS_VARIABLE: Final = "IMAGEJOB_ALLOWED_NETWORKS"


def model_file(url: str) -> Path:
    """A local path with the contents of a URL.

    A file is used where it lies. Anything else is copied once into a cache (``$IMAGEJOB_CACHE``, else ``$XDG_CACHE_HOME/imagejob``, else
    ``~/.cache/imagejob``) and copied again when the other side says that it changed. Private addresses are refused for http as they are for
    images; networks listed in ``$IMAGEJOB_ALLOWED_NETWORKS`` (CIDR, comma-separated) may be reached.

    Blocks; call it outside of an event loop, or through `asyncio.to_thread`.

    Raises:
        InvalidJobError: The URL is not valid or leads where it must not, or no such file exists.
        StorageError: The file cannot be copied.
    """
    location = parse_url(url)
    if isinstance(location, FileUrl):
        if not location.path.is_file():
            wrong = "is no file" if location.path.exists() else "does not exist"
            raise InvalidJobError(f"{shown_url(url)}: {location.path} {wrong}; check the path")
        return location.path
    return asyncio.run(_cached(location, url))


async def copy_to(url: str, path: Path, download: Download) -> None:
    """Copies what is behind an object or HTTP URL into a file.

    Args:
        url: The URL.
        path: The file; written over.
        download: Redirects, headers and allowed networks; its bound of size is for images and is not used.

    Raises:
        InvalidJobError: The URL is not valid or leads where it must not, or nothing is there.
        StorageError: It cannot be copied.
    """
    location = parse_url(url)
    if isinstance(location, FileUrl):
        raise InvalidJobError(f"{shown_url(url)} is a file of this machine, which needs no copy")
    async with _opened(location, url, download) as body:
        await _write(body, path)


def sha256_of(path: Path) -> str:
    """The SHA-256 digest of a file: 64 lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _cached(location: ObjectUrl | HttpUrl, url: str) -> Path:
    networks = [text.strip() for text in os.environ.get(_NETWORKS_VARIABLE, "").split(",") if text.strip()]
    try:
        download = Download(allowed_networks=networks)
    except ValueError as error:
        raise InvalidJobError(f"the environment variable {_NETWORKS_VARIABLE} is not a list of networks: {error}") from None
    async with _opened(location, url, download) as body:
        # Without a version nobody can tell whether a copy is still good, so it is made anew under a name of its own.
        version = body.version or uuid.uuid4().hex
        digest = hashlib.sha256(f"{url}\n{version}".encode()).hexdigest()
        path = _cache_folder() / digest[:32]
        if not path.exists():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(f"cannot make {path.parent}: {error.strerror}; set {CACHE_VARIABLE} to a folder with space") from error
            await _write(body, path)
        return path


def _cache_folder() -> Path:
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "imagejob")


@contextlib.asynccontextmanager
async def _opened(location: ObjectUrl | HttpUrl, url: str, download: Download) -> AsyncIterator[Body]:
    try:
        if isinstance(location, ObjectUrl):
            yield await open_object(location, shown_url(url))
            return
        from imagejob_runner.fetch.http import HttpClient  # noqa: PLC0415  its libraries take 0.2 s, and files need none of it

        client = HttpClient(download, stall_seconds=_STALL_SECONDS)
        try:
            async with client.open(location.url) as body:
                yield body
        finally:
            await client.close()
    except ImageError as error:
        kind = InvalidJobError if error.code in _WRONG_URL else StorageError
        raise kind(f"cannot read {shown_url(url)}: {error.message}") from error


async def _write(body: Body, path: Path) -> None:
    temporary = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            async for block in body.blocks():
                await asyncio.to_thread(file.write, block)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; check the space and the rights there") from error
    finally:
        temporary.unlink(missing_ok=True)

r"""Inputs from a listing: all files of a folder, or all objects below a prefix, that a glob takes.

The id of an input is its path below the prefix. A name that is not UTF-8 cannot be an id as it is: such bytes are written ``\xNN`` and a
backslash ``\\``, so that different names always have different ids and the name can be had back.
"""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import obstore
from obstore.exceptions import BaseError, InvalidPathError

from imagejob_api.imagejob import Prefix
from imagejob_api.redaction import shown_url
from imagejob_runner.exceptions import InvalidSourceError, StorageError
from imagejob_runner.sources.base import Entry
from imagejob_runner.sources.globs import Glob
from imagejob_runner.storage.store_errors import brief, is_missing
from imagejob_runner.storage.stores import open_store
from imagejob_runner.urls import FileUrl, HttpUrl, ObjectUrl, file_url, file_url_path, object_url, parse_url

_LIST_CHUNK: Final = 1000


async def list_prefix(prefix: Prefix, output_url: str | None) -> AsyncIterator[Entry]:
    """Lists a folder or a bucket, sorted by name within each folder.

    Args:
        prefix: What the job says.
        output_url: The job's output; what lies below it is left out.

    Raises:
        InvalidSourceError: There is nothing to list, or source and output are mixed up.
        StorageError: The listing fails.
    """
    location = parse_url(prefix.url)
    output = parse_url(output_url) if output_url is not None else None
    glob = Glob(prefix.glob)
    match location:
        case FileUrl(path=path):
            for entry in _list_folder(path, glob, output.path if isinstance(output, FileUrl) else None):
                yield entry
        case ObjectUrl():
            async for entry in _list_objects(location, glob, output if isinstance(output, ObjectUrl) else None):
                yield entry
        case HttpUrl():
            raise InvalidSourceError(
                f"source.prefix.url {shown_url(prefix.url)!r}: a web server cannot be listed; use source.manifest with the URLs"
            )


def path_id(path: str) -> str:
    """The id of a path: itself, with bytes that are not UTF-8 (surrogates, as from `os.fsdecode`) and backslashes escaped."""
    if path.isascii() and "\\" not in path:
        return path
    return os.fsencode(path.replace("\\", "\\\\")).decode("utf-8", "backslashreplace")


def _list_folder(root: Path, glob: Glob, output: Path | None) -> Iterator[Entry]:
    root = root.absolute()
    if not root.is_dir():
        wrong = "is a file; name its folder, or use source.urls" if root.exists() else "does not exist; check the path"
        raise InvalidSourceError(f"source.prefix.url: the folder {root} {wrong}")
    real = root.resolve()
    inner = _checked_output(str(real), None if output is None else str(output.resolve()))
    top = str(root)
    before = len(top.rstrip("/")) + 1
    base = file_url(root).rstrip("/")
    hidden_output = None if inner is None else os.path.join(top, os.path.relpath(inner, real))  # noqa: PTH118  compared with scandir's texts

    def walk(folder: str, depth: int) -> Iterator[Entry]:
        try:
            with os.scandir(folder) as found:
                children = sorted(found, key=lambda child: child.name)
        except OSError as error:
            raise StorageError(f"cannot list {folder}: {error.strerror}; make it readable or choose another source.prefix") from error
        for child in children:
            if child.is_dir(follow_symlinks=False):
                if (glob.depth is None or depth < glob.depth) and child.path != hidden_output:
                    yield from walk(child.path, depth + 1)
            elif child.is_file() and _stays_inside(child, real):
                path = child.path[before:]
                if glob.matches(path):
                    yield Entry(path_id(path), f"{base}/{file_url_path(path)}")

    yield from walk(top, 1)


def _stays_inside(child: "os.DirEntry[str]", real_root: Path) -> bool:
    # A link out of the folder would make a job over somebody's upload folder read any file of the machine.
    return not child.is_symlink() or Path(child.path).resolve().is_relative_to(real_root)


async def _list_objects(location: ObjectUrl, glob: Glob, output: ObjectUrl | None) -> AsyncIterator[Entry]:
    prefix = location.key.strip("/")
    base = f"{prefix}/" if prefix else ""
    mine = f"{location.scheme}://{location.bucket}/{base}"
    theirs = None if output is None else f"{object_url(output).rstrip('/')}/"
    hidden_output = _checked_output(mine.rstrip("/"), None if theirs is None else theirs.rstrip("/"))
    hidden_prefix = None if hidden_output is None else hidden_output.removeprefix(f"{location.scheme}://{location.bucket}/") + "/"
    waiting: str | None = None
    try:
        async for batch in obstore.list(open_store(location.scheme, location.bucket), prefix or None, chunk_size=_LIST_CHUNK):
            for found in batch:
                key = found["path"]
                # Consoles mark a folder by an empty object of its name, which sorts just before what is in it.
                if waiting is not None and not key.startswith(f"{waiting}/"):
                    yield _object_entry(location, base, waiting)
                waiting = None
                if (hidden_prefix is not None and key.startswith(hidden_prefix)) or not glob.matches(key.removeprefix(base)):
                    continue
                if found["size"] == 0:
                    waiting = key
                else:
                    yield _object_entry(location, base, key)
    except InvalidPathError as error:
        raise StorageError(
            f"cannot list {mine}: {brief(error)}; objects whose names hold control characters or empty parts cannot be used: rename them"
        ) from error
    except (BaseError, OSError, ValueError) as error:
        if is_missing(error):
            raise InvalidSourceError(
                f"source.prefix.url: there is no bucket {location.scheme}://{location.bucket}; check the name"
            ) from None
        raise StorageError(f"cannot list {mine}: {brief(error)}; check the credentials, the endpoint and the network") from error
    if waiting is not None:
        yield _object_entry(location, base, waiting)


def _object_entry(location: ObjectUrl, base: str, key: str) -> Entry:
    return Entry(key.removeprefix(base), object_url(ObjectUrl(location.scheme, location.bucket, key)))


def _checked_output(source: str, output: str | None) -> str | None:
    """The output, if the source contains it and must leave it out; None if they have nothing to do with each other."""
    if output is None:
        return None
    if f"{source}/".startswith(f"{output}/"):
        raise InvalidSourceError(
            f"source.prefix.url {source} lies in the output {output}, so results would become inputs; write them to another place, "
            f"such as {source}/results"
        )
    return output if output.startswith(f"{source}/") else None

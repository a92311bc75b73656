"""The cache of what takes minutes to make and never changes: tools at a version, programs by the digest of their sources.

It lies outside of any checkout, so that a second checkout, or a second run, finds everything in place. Runs that need the same entry at
the same time wait for one of them to make it.
"""

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LOG = logging.getLogger(__name__)


def cache_root() -> Path:
    """The cache's folder: $IMAGEJOB_TOOLS_CACHE, else ``imagejob/tools`` below the user's cache."""
    chosen = os.environ.get("IMAGEJOB_TOOLS_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "imagejob", "tools")


def cached(name: str, program: str, build: Callable[[Path], None]) -> Path:
    """The entry `name` of the cache, made if it is not there.

    Args:
        name: Folder below the cache's root; tells by version or digest what is in it.
        program: An executable in the folder, without which the entry does not count.
        build: Fills an empty folder, which becomes the entry when it is complete. What it raises goes to the caller and leaves no entry.

    Returns:
        The entry's folder.
    """
    entry = cache_root() / name
    if _complete(entry, program):
        return entry
    cache_root().mkdir(parents=True, exist_ok=True)
    with locked(cache_root() / f".{name}.lock"):
        if _complete(entry, program):
            return entry
        scratch = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=cache_root()))
        try:
            build(scratch)
            shutil.rmtree(entry, ignore_errors=True)
            scratch.chmod(0o755)
            scratch.rename(entry)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return entry


def _complete(entry: Path, program: str) -> bool:
    return os.access(entry / program, os.X_OK)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a file's lock, so that one run at a time does what it stands for; says so when it has to wait."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _LOG.info("waiting for another run that holds %s", path)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield

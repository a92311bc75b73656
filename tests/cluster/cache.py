"""The cache of what takes minutes to make and never changes: tools at a version, programs by the digest of their sources.

It lies outside of any checkout, so that a second checkout, or a second run, finds everything in place. Runs that need the same entry at
the same time wait for one of them to make it. What a killed run leaves has another name, and is removed by the next that makes the entry.
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


def background_log() -> Path:
    """What is said by runs that make entries in the background (`tests.tools.programs`)."""
    return cache_root() / "background.log"


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
    with locked(cache_root() / f".{name}.lock", f"another run to make {name}; one in the background writes to {background_log()}"):
        if _complete(entry, program):
            return entry
        for abandoned in cache_root().glob(f".{name}.*/"):
            shutil.rmtree(abandoned, ignore_errors=True)
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
def locked(path: Path, waited_for: str) -> Iterator[None]:
    """Holds a file's lock, so that one run at a time does what it stands for; says what is waited for when it has to wait.

    The kernel takes the lock from a process that ends, however it ends.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _LOG.info("waiting for %s", waited_for)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield

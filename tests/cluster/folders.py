"""Temporary folders that are removed even if their owner was killed: by the next one who makes such a folder."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LOCK: Final = ".in-use"
_LONGEST: Final = 60
"""Paths of sockets have room for 107 characters."""


@dataclass(frozen=True)
class Claim:
    """A folder that belongs to one owner."""

    path: Path

    def keep(self, *names: str) -> None:
        """Lets some of its entries stay for good, for somebody to look at, and nothing else."""
        for entry in self.path.iterdir():
            if entry.name not in names:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


@contextmanager
def claimed_folder(prefix: str) -> Iterator[Claim]:
    """A new folder, removed at the end unless something in it was kept.

    Folders of the same prefix whose owners were killed are removed on the way.
    """
    parent = Path(tempfile.gettempdir())
    if len(str(parent)) > _LONGEST:
        parent = Path("/tmp")  # noqa: S108  mkdtemp makes a folder there that nobody else can read
    # Nobody looks for abandoned folders between the making of one and its locking.
    with (parent / f"{prefix}{os.getuid()}.lock").open("w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        _remove_abandoned(parent, prefix)
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = (path / _LOCK).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    with lock:  # closing it unlocks it; so does the end of this process
        try:
            yield Claim(path)
        finally:
            if (path / _LOCK).exists():
                shutil.rmtree(path)


def _remove_abandoned(parent: Path, prefix: str) -> None:
    for lock in parent.glob(f"{prefix}*/{_LOCK}"):
        if lock.stat().st_uid != os.getuid():
            continue
        with lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(lock.parent)

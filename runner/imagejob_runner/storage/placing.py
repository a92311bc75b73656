"""Puts a file that is whole into its place: where nothing is yet, or over the very version that was read.

A hard link is the surest way to a place that must be free, and every local file system and NFS have it. SMB and most FUSE volumes (gcsfuse)
refuse it; there a rename that replaces nothing does the same where the kernel has it for that file system, and else processes take turns: a
turn is a file that only one can create. To write over a version that was read, processes take turns, too; by a lock of the kernel where
links work, since that one ends with its process.
"""

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

TEMPORARY: Final = ".imagejob-tmp-"
"""Start of the names of files that only their writer knows."""
LOCK_FILE: Final = ".imagejob-lock"
"""Beside what is written over: what processes lock meanwhile. It stays, since a lock on a file that is gone locks nothing."""
TAKE_OVER_SECONDS: Final = 30.0
"""So long a turn may stand, by the clock of who waits, until its process is taken for dead. It takes as long as a rename."""
_LOOK_SECONDS: Final = 0.02
_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1
_REFUSALS: Final = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL, errno.ENOTTY}
)
"""What file systems answer to what they do not have."""
_NO_LOCKS: Final = _REFUSALS | {errno.ENOLCK, errno.EBADF}


def place_new(temporary: Path, path: Path) -> bool:
    """Gives a file its place if there is none; False if there is, whoever wrote it.

    Args:
        temporary: The file, in the same folder. It may be gone or not afterwards.
        path: Its place.

    Raises:
        FileNotFoundError: Somebody has removed the file.
        OSError: The file system refuses for another reason.
    """
    with contextlib.suppress(_RefusedError):
        return _link(temporary, path)
    with contextlib.suppress(_RefusedError):
        return _rename_to_nothing(temporary, path)
    with _turn(path, "new") as mine:
        return not path.exists() and _replace(temporary, path, mine)


def place_over(temporary: Path, path: Path, version: str) -> bool:
    """Gives a file the place of one whose `version_of` is given; False if another is there by now, or none.

    Raises:
        OSError: The file system refuses.
    """
    with _lock(temporary, path, version) as mine:
        try:
            found = version_of(path.read_bytes())
        except FileNotFoundError:
            return False
        return found == version and _replace(temporary, path, mine)


def version_of(data: bytes) -> str:
    """What tells the contents of a file from others."""
    return hashlib.sha256(data).hexdigest()


def _replace(temporary: Path, path: Path, mine: Callable[[], bool]) -> bool:
    wanted = version_of(temporary.read_bytes())
    if not mine():
        return False
    temporary.replace(path)
    # Whoever took this process for dead in that very moment has put its own file there, before or after.
    return mine() or version_of(path.read_bytes()) == wanted


class _RefusedError(Exception):
    """The file system has no such thing."""


def _link(temporary: Path, path: Path) -> bool:
    return _unless_taken(os.link, temporary, path)


def _rename_to_nothing(temporary: Path, path: Path) -> bool:
    return _unless_taken(_renameat2, temporary, path)


def _unless_taken(place: Callable[[Path, Path], None], temporary: Path, path: Path) -> bool:
    """Whether `place` gave the file its name, which must not be taken; `_RefusedError` where the file system has no such call."""
    try:
        place(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in _REFUSALS:
            raise _RefusedError from error
        raise
    return True


def _renameat2(source: Path, target: Path) -> None:
    """Renames, unless the target exists. Python has no call for it, nor have C libraries of other systems than Linux."""
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    if function(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(target))


@contextlib.contextmanager
def _lock(temporary: Path, path: Path, version: str) -> Iterator[Callable[[], bool]]:
    """As `_turn`, by a lock of the kernel where the file system is likely to have one that all its users see."""
    with contextlib.ExitStack() as stack:
        try:
            probe = temporary.with_name(f"{temporary.name}-link")
            _link(temporary, probe)
            probe.unlink()
            file = stack.enter_context(path.with_name(LOCK_FILE).open("ab"))
            fcntl.flock(file, fcntl.LOCK_EX)
        except (_RefusedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                raise
            yield stack.enter_context(_turn(path, version))
            return
        yield lambda: True


@contextlib.contextmanager
def _turn(path: Path, version: str) -> Iterator[Callable[[], bool]]:
    """Waits for this process's turn at a version of a file, and ends it.

    A turn is a file with a number. A process that finds one waits until it is gone; if it stands too long, its process is taken for dead,
    and the next number is another turn. Turns go from the newest to the oldest, so that their numbers have no gaps.

    Yields:
        Whether it is still this process's turn: false once another has taken this process for dead.
    """
    mark = hashlib.sha256(f"{path.name}\0{version}".encode()).hexdigest()[:32]

    def turn(number: int) -> Path:
        return path.with_name(f"{TEMPORARY}turn-{mark}-{number}")

    number = _take(turn)
    try:
        yield lambda: not turn(number + 1).exists()
    finally:
        if not turn(number + 1).exists():
            for each in range(number, -1, -1):
                turn(each).unlink(missing_ok=True)


def _take(turn: Callable[[int], Path]) -> int:
    """Creates the next turn when there is none, or the newest has stood too long; returns its number."""
    seen: tuple[int, int] | None = None
    since = time.monotonic()
    while True:
        newest = -1
        stamp = 0
        with contextlib.suppress(FileNotFoundError):
            while True:
                stamp = turn(newest + 1).stat().st_mtime_ns
                newest += 1
        if seen != (newest, stamp):
            seen, since = (newest, stamp), time.monotonic()
        if newest < 0 or time.monotonic() - since > TAKE_OVER_SECONDS:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(turn(newest + 1), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                return newest + 1
        time.sleep(_LOOK_SECONDS)

"""Where the local store lives, and that nobody else can get at it."""

import os
import stat
from pathlib import Path

from nodelease.exceptions import LocalDirectoryError
from nodelease.local.constants import DIRECTORY_VARIABLE, SOCKET_FILE, SOCKET_PATH_BYTES


def local_directory(directory: Path | None = None) -> Path:
    """The directory of the local store, made if it is not there.

    Args:
        directory: The one to use; None chooses $IMAGEJOB_RUNTIME_DIR, else $XDG_RUNTIME_DIR/imagejob, else /tmp/imagejob-UID.

    Raises:
        LocalDirectoryError: It cannot be made, is not this user's alone, or its path is too long for a socket.
    """
    path = _chosen(directory).absolute()
    length = len(os.fsencode(path / SOCKET_FILE))
    if length > SOCKET_PATH_BYTES:
        raise LocalDirectoryError(
            f"{path / SOCKET_FILE} has {length} bytes, and the path of a Unix socket may have {SOCKET_PATH_BYTES}: "
            f"set {DIRECTORY_VARIABLE} to a shorter directory"
        )
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise LocalDirectoryError(f"cannot make the directory {path}: {error.strerror}; set {DIRECTORY_VARIABLE} to another") from error
    if not stat.S_ISDIR(found.st_mode):
        raise LocalDirectoryError(f"{path} is a link or no directory; set {DIRECTORY_VARIABLE} to another")
    if found.st_uid != os.getuid():
        raise LocalDirectoryError(f"{path} belongs to user {found.st_uid}, not to this one; set {DIRECTORY_VARIABLE} to another")
    if found.st_mode & 0o022:
        raise LocalDirectoryError(f"others may write to {path}; run chmod 700 on it, or set {DIRECTORY_VARIABLE} to another")
    return path


def _chosen(directory: Path | None) -> Path:
    if directory is not None:
        return directory
    if own := os.environ.get(DIRECTORY_VARIABLE):
        return Path(own)
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "imagejob"
    return Path(f"/tmp/imagejob-{os.getuid()}")  # noqa: S108  made 0700, and refused unless it is this user's

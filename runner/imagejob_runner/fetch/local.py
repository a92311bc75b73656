"""Reads files, and nothing that only looks like one: a FIFO would hang the run, a device would never end."""

import errno
import os
import stat
from pathlib import Path
from typing import Final

from imagejob_api.redaction import shown_url
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError
from imagejob_runner.fetch.body import too_large

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_UNREACHABLE: Final = {errno.ENOENT, errno.ENOTDIR}
_BAD_NAME: Final = {errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}
_FORBIDDEN: Final = {errno.EACCES, errno.EPERM}


def read_file(path: Path | str, url: str, limit: int) -> bytes:
    """All bytes of a regular file.

    Args:
        path: The file.
        url: Its URL, which messages show without secrets.
        limit: Largest number of bytes accepted.

    Raises:
        ImageError: It cannot be read, is no regular file, or is larger than `limit`.
    """
    try:
        _check_regular(os.stat(path), url)  # noqa: PTH116  a path that is a text need not become a Path
        # Between the look and the opening it may have become a FIFO: O_NONBLOCK keeps even that from hanging.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            status = os.fstat(file)
            _check_regular(status, url)
            if status.st_size > limit:
                raise too_large(shown_url(url), limit, status.st_size)
            # A buffer as large as the limit for each file, cut afterwards, would leave the heap full of holes that are touched one by one.
            data = _read(file, status.st_size + 1)
            if len(data) > status.st_size:  # it is growing
                data += _read(file, limit + 1 - len(data))
        finally:
            os.close(file)
    except OSError as error:
        raise _as_image_error(error, shown_url(url)) from error
    if len(data) > limit:
        raise too_large(shown_url(url), limit)
    return data


def _read(file: int, size: int) -> bytes:
    """Up to `size` bytes; fewer only at the end of the file."""
    data = os.read(file, size)
    while len(data) < size and (more := os.read(file, size - len(data))):
        data += more
    return data


def _check_regular(status: os.stat_result, url: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for test, name in _KINDS if test(status.st_mode)), "no regular file")
        raise ImageError(ErrorCode.INVALID_URL, f"{shown_url(url)} is {kind}, not a file")


def _as_image_error(error: OSError, url: str) -> ImageError:
    if error.errno in _UNREACHABLE:
        return ImageError(ErrorCode.NOT_FOUND, f"{url} does not exist")
    if error.errno in _FORBIDDEN:
        return ImageError(ErrorCode.PERMISSION_DENIED, f"{url} may not be read: {error.strerror}")
    if error.errno in _BAD_NAME:
        return ImageError(ErrorCode.INVALID_URL, f"{url} cannot be opened: {error.strerror}")
    return ImageError(ErrorCode.STORAGE_FAILED, f"{url} cannot be read: {error.strerror or error}", retryable=True)

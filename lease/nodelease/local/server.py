"""The process of the local store's server: `python -m nodelease.local.server DIRECTORY`, started by whichever client comes first.

It returns when the server listens; the server itself goes on in the background, in its own session, and ends by itself a few seconds after
the last client. A lock on a file makes sure that there is one for each directory.
"""

import asyncio
import fcntl
import logging
import os
import signal
import socket
import sys
import time
from pathlib import Path

from nodelease.exceptions import LocalDirectoryError
from nodelease.local.constants import LOG_FILE, SERVER_LOCK_FILE, SOCKET_FILE, START_RETRY_SECONDS, START_SECONDS
from nodelease.local.directory import local_directory
from nodelease.local.files import StateFiles
from nodelease.local.service import ClientConnection, LeaseServer

BACKLOG = 1024


def main(arguments: list[str]) -> int:
    """Start a server in the background; 0 when it listens, or when another one does already."""
    if len(arguments) != 1:
        print("usage: python -m nodelease.local.server DIRECTORY", file=sys.stderr)  # noqa: T201  a command line prints
        return 2
    try:
        directory = local_directory(Path(arguments[0]))
    except LocalDirectoryError as error:
        print(error, file=sys.stderr)  # noqa: T201  a command line prints
        return 1
    lock = _locked(directory / SERVER_LOCK_FILE)
    if lock is None:
        return 0
    listener = _listen(directory / SOCKET_FILE)
    if os.fork() != 0:
        os._exit(0)  # the child has the lock and the socket
    _detach(directory / LOG_FILE)
    asyncio.run(_serve(directory, listener))
    return 0


def _locked(path: Path) -> int | None:
    """The lock's descriptor; None if another server keeps it. One that is just ending is waited for."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + START_SECONDS / 2
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if _answers(path.with_name(SOCKET_FILE)) or time.monotonic() > deadline:
                os.close(lock)
                return None
            time.sleep(START_RETRY_SECONDS)
        else:
            return lock


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _listen(path: Path) -> socket.socket:
    """A listening socket, which stands at its path only once it accepts connections."""
    new = path.with_name(f".{os.getpid()}")
    new.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(new))
    new.chmod(0o600)
    listener.listen(BACKLOG)
    new.rename(path)
    return listener


def _detach(log: Path) -> None:
    os.setsid()
    os.chdir("/")
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")


async def _serve(directory: Path, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    server = LeaseServer(StateFiles(directory))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.ended.set)
    listening = await loop.create_unix_server(lambda: ClientConnection(server), sock=listener)
    await server.ended.wait()
    listening.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Starts worker processes: forked from a server that has loaded what they need already, so that a start costs milliseconds.

A runner that was itself forked from such a server (on one machine) has its workers forked from the same one; any other (in a pod) starts
its own. `multiprocessing.Process` cannot do either: a daemon may have no children, a child of a server starts a server of its own, and
each process would import the program's main module again.
"""

import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, reduction, resource_tracker
from typing import Any, Final

from imagejob_runner.preparation.orders import Orders
from imagejob_runner.process import interrupts_held_back, prepare_environment

PRELOADED: Final = ("imagejob_runner.preparation.worker", "imagejob_runner.fetch.http", "imagejob_runner.preparation.unhurried")
"""What a server of our own loads for workers."""


@dataclass(frozen=True)
class Started:
    """A process that was started.

    Attributes:
        pid: Its id.
        status: File that becomes readable when it has ended; see `exit_status`.
    """

    pid: int
    status: int

    def exit_status(self) -> int | None:
        """Its exit status, or minus the signal that ended it; None if nobody knows, as when the server is gone. Call it once."""
        try:
            return int(forkserver.read_signed(self.status))
        except (OSError, EOFError):
            return None
        finally:
            os.close(self.status)


@dataclass(frozen=True)
class _Birth:
    """What a forked process does; `multiprocessing` calls `_bootstrap` where it otherwise has a Process."""

    environment: dict[str, str]
    orders: Orders

    def _bootstrap(self, parent_sentinel: int) -> int:
        os.close(parent_sentinel)
        for name in os.environ.keys() - self.environment.keys():
            del os.environ[name]
        os.environ.update(self.environment)
        from imagejob_runner.preparation import worker  # noqa: PLC0415  the runner does without what workers load

        connection, board, *arena = forkserver.get_inherited_fds() or []
        worker.main(self.orders, socket.socket(fileno=connection), board, arena[0] if arena else None)
        return 0


def start_server() -> None:
    """Has a server start and load what workers need, if there is none yet; returns at once."""
    prepare_environment(os.environ)
    server: Any = forkserver._forkserver  # noqa: SLF001  see the module's docstring
    if _is_child(server):
        server.ensure_running = resource_tracker.ensure_running
        return
    if server._forkserver_pid is None:  # noqa: SLF001  what is loaded can be chosen only before it starts
        forkserver.set_forkserver_preload(list(PRELOADED))
    with interrupts_held_back():
        forkserver.ensure_running()


def start(orders: Orders, files: Sequence[int]) -> tuple[Started, socket.socket]:
    """Starts a worker. Blocks until the server has loaded everything and forked it.

    Args:
        orders: What it is told.
        files: The file of the board, and that of the arena if there is one.

    Returns:
        The process, and our end of its socket, which does not block.

    Raises:
        OSError: It cannot be started.
        EOFError: The server ended meanwhile.
    """
    start_server()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        try:
            status, data = forkserver.connect_to_new_process([theirs.fileno(), *files])
            try:
                with open(data, "wb") as pipe:  # noqa: PTH123  a file that is open already
                    reduction.dump({"name": "preparation", "sys_path": sys.path, "dir": os.getcwd()}, pipe)  # noqa: PTH109  its own form
                    reduction.dump(_Birth(dict(os.environ), orders), pipe)
                return Started(forkserver.read_signed(status), status), ours
            except BaseException:
                os.close(status)
                raise
        except BaseException:
            ours.close()
            raise


def _is_child(server: Any) -> bool:  # noqa: ANN401  multiprocessing's own
    """Whether this process was forked from a server that still takes requests from it."""
    known = server._forkserver_address is not None and server._forkserver_pid is None  # noqa: SLF001  as above
    # From Python 3.14 on a server wants a key that its children are not given.
    return known and getattr(server, "_forkserver_authkey", True) is not None

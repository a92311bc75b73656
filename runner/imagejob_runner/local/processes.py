"""Starts runner processes, the first of them before anybody knows what it has to do."""

import asyncio
import multiprocessing
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_runner.daemon import in_daemon
from imagejob_runner.exceptions import InvalidJobError
from imagejob_runner.local import fork_server, worker
from imagejob_runner.local.messages import Check, Checked
from imagejob_runner.process import interrupts_held_back
from imagejob_runner.shard import ShardRequest


@dataclass(frozen=True, slots=True)
class _Spare:
    """A process that has been told to import what the pipeline names, and that has no shard yet."""

    process: ForkServerProcess
    connection: Connection


class RunnerProcesses:
    """Makes runner processes.

    Args:
        kinds: Kinds of the pipeline's steps: what they need is loaded once, in the server.
    """

    def __init__(self, kinds: Collection[str]) -> None:
        fork_server.start(kinds)
        self.import_seconds: float | None = None
        """From the start of the server until it could fork the first process; and until that had imported the pipeline's own code, where
        this was waited for."""
        self._context = multiprocessing.get_context("forkserver")
        self._spare: asyncio.Task[_Spare] | None = None

    def warm_up(self, pipeline: ImagePipelineSpec) -> None:
        """Starts a first process, which imports what the pipeline names: a model's package may take seconds, and so may the plan."""
        self._spare = asyncio.create_task(self._warmed(pipeline))

    async def check_code(self) -> None:
        """Waits until the first process has imported the Python functions that the pipeline names. It is kept for the first shard.

        Raises:
            InvalidJobError: One cannot be imported.
        """
        assert self._spare is not None  # noqa: S101  `warm_up` comes first
        spare = await asyncio.shield(self._spare)
        await _readable(spare.connection)
        try:
            answer: Checked = spare.connection.recv()
        except EOFError:
            raise InvalidJobError("importing the functions that the steps name ends the process; see what it printed") from None
        self.import_seconds = fork_server.seconds_since_start()
        if answer.error is not None:
            raise answer.error

    async def start(self, request: ShardRequest) -> tuple[ForkServerProcess, Connection]:
        """Starts a process, or takes the one that waits; returns it with our end of its pipe."""
        spare, self._spare = self._spare, None
        process, connection = await self._started() if spare is None else _parts(await spare)
        with suppress(OSError):  # it has ended by itself, which the pipe tells
            connection.send(request)
        return process, connection

    def close(self) -> None:
        """Ends the process that has been given no shard, if there is one."""
        spare, self._spare = self._spare, None
        if spare is not None and not spare.cancel() and not spare.exception():
            spare.result().process.kill()

    async def _warmed(self, pipeline: ImagePipelineSpec) -> _Spare:
        process, connection = await self._started()
        connection.send(Check(pipeline))
        return _Spare(process, connection)

    async def _started(self) -> tuple[ForkServerProcess, Connection]:
        """A process and its pipe. The first one waits until the server has loaded everything."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=worker.main, args=(theirs,), name="runner", daemon=True)
        await in_daemon(lambda: _start(process))
        if self.import_seconds is None:
            self.import_seconds = fork_server.seconds_since_start()
        theirs.close()
        return process, ours


def _parts(spare: _Spare) -> tuple[ForkServerProcess, Connection]:
    return spare.process, spare.connection


def _start(process: ForkServerProcess) -> None:
    with interrupts_held_back():
        process.start()


async def _readable(connection: Connection) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(connection.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection.fileno())

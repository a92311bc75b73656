"""Starts runner processes: forked from one server that has loaded torch and the rest already, so that a start costs milliseconds."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Collection
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Final

from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_runner.exceptions import InvalidJobError
from imagejob_runner.local import worker
from imagejob_runner.preparation import processes as preparation
from imagejob_runner.process import prepare_environment
from imagejob_runner.shard import ShardRequest

_PRELOADED: Final = {
    "download": "imagejob_runner.pipeline.works.download",
    "transform": "imagejob_runner.pipeline.works.pixels",
    "infer": "imagejob_runner.pipeline.works.inference",
    "call": "imagejob_runner.pipeline.works.call",
    "save": "imagejob_runner.pipeline.works.save",
}

_PREPARED: Final = frozenset({"download", "transform", "infer"})
"""Kinds of steps that worker processes may do, which are forked from the same server."""


class RunnerProcesses:
    """Makes runner processes.

    Args:
        kinds: Kinds of the pipeline's steps: what they need is loaded once, in the server.
    """

    def __init__(self, kinds: Collection[str]) -> None:
        # The allocator reads its settings when a process starts, and forked ones keep those of the server.
        prepare_environment(os.environ)
        self._context = multiprocessing.get_context("forkserver")
        workers = [] if _PREPARED.isdisjoint(kinds) else [preparation.PRELOADED]
        self._context.set_forkserver_preload(["imagejob_runner.local.worker", *workers, *sorted(_PRELOADED[kind] for kind in kinds)])

    async def start(self, request: ShardRequest) -> tuple[ForkServerProcess, Connection]:
        """Starts a process; returns it with our end of its pipe. The first start waits until the server has loaded everything."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=worker.main, args=(theirs, request), name=f"shard-{request.shards[0]}", daemon=True)
        await asyncio.to_thread(_start, process)
        theirs.close()
        return process, ours

    async def check_code(self, pipeline: ImagePipelineSpec) -> None:
        """Has a process import the Python functions that a pipeline names.

        Raises:
            InvalidJobError: One cannot be imported.
        """
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=worker.check, args=(theirs, pipeline), name="check", daemon=True)
        await asyncio.to_thread(_start, process)
        theirs.close()
        try:
            error = await asyncio.to_thread(ours.recv)
        except EOFError:
            raise InvalidJobError("importing the functions that the steps name ends the process; see what it printed") from None
        finally:
            process.kill()
        if error is not None:
            raise error


def _start(process: ForkServerProcess) -> None:
    # Ctrl-C reaches all processes of a terminal. The mask is inherited by the server and what it forks: only the supervisor sees it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

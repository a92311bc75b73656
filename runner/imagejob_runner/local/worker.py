"""A runner process on one machine: runs one shard and reports to the supervisor.

It ends in order when asked to, at SIGTERM, and when the supervisor is gone: then what is whole is committed and the slots are free at once.
"""

import asyncio
import gc
import os
import signal
import sys
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_api.redaction import redacted
from imagejob_runner.constants import ExitCode
from imagejob_runner.exceptions import DeviceError, InvalidJobError, RunnerError
from imagejob_runner.local.messages import Check, Checked, Ended, Go, Ready, Snapshot, Stop
from imagejob_runner.pipeline.assembly import check_code
from imagejob_runner.shard import ShardRequest, ShardRun
from nodelease import LeaseClient, LeaseError

REPORT_SECONDS = 0.2


def main(connection: Connection) -> None:
    """Imports what a pipeline names, if told to, and runs a shard; the target of the process."""
    # Ctrl-C reaches every process of the terminal; the supervisor decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The server that it was forked from does not heed it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # What was loaded before the fork is shared; a garbage collection would write into all of it and make it this process's own.
    gc.freeze()
    if (request := _request(connection)) is None:
        return
    try:
        ended = asyncio.run(_Worker(connection, request).run())
    except (RunnerError, LeaseError) as error:
        code = getattr(error, "exit_code", ExitCode.STORAGE)
        ended = Ended(error=str(error), exit_code=code, again=isinstance(error, DeviceError))
    except Exception as error:  # noqa: BLE001  a defect must reach the user with its place, not vanish with the process
        sys.stderr.write(redacted(traceback.format_exc()))
        ended = Ended(error=redacted(f"internal error, please report it: {type(error).__name__}: {error}"), exit_code=ExitCode.JOB_FAILED)
    for stream in (sys.stdout, sys.stderr):  # what a pipeline's functions have printed must not stay behind
        with suppress(OSError, ValueError):
            stream.flush()
    _send(connection, ended)


def _request(connection: Connection) -> ShardRequest | None:
    """The shard to run, once it comes; None when the supervisor is gone. Until then what a pipeline names is imported and told of."""
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            return None
        if not isinstance(message, Check):
            return message if isinstance(message, ShardRequest) else None
        _send(connection, Checked(_error_of(message.pipeline)))


def _error_of(pipeline: ImagePipelineSpec) -> InvalidJobError | None:
    try:
        check_code(pipeline)
    except InvalidJobError as error:
        return error
    return None


def _send(connection: Connection, message: Any) -> None:  # noqa: ANN401  any of the messages
    try:
        connection.send(message)
    except OSError:
        return  # the supervisor is gone; there is nobody to tell


class _Worker:
    def __init__(self, connection: Connection, request: ShardRequest) -> None:
        self._connection, self._request = connection, request
        self._limits = sorted({limit.name for step in request.pipeline.steps for limit in step.limits})
        self._stopped = False
        self._may_go = asyncio.Event()

    async def run(self) -> Ended:
        loop = asyncio.get_running_loop()
        self._run_stop: asyncio.Task[None] | None = None
        client = LeaseClient.local(f"{self._request.run_id}-{self._request.shards[0]}-{os.getpid()}") if self._limits else None
        try:
            self._client = client
            self._shard = ShardRun(self._request, client)
            loop.add_signal_handler(signal.SIGTERM, self._stop)
            loop.add_reader(self._connection.fileno(), self._on_message)
            reporter = asyncio.create_task(self._report())
            try:
                await self._shard.run(self._when_ready)
            finally:
                reporter.cancel()
                loop.remove_reader(self._connection.fileno())
                self._snapshot()
        finally:
            if client is not None:
                await asyncio.to_thread(client.close)
        return Ended(stopped=self._stopped)

    async def _when_ready(self) -> None:
        _send(self._connection, Ready())
        await self._may_go.wait()

    def _on_message(self) -> None:
        try:
            message = self._connection.recv()
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            message = Stop()
        if isinstance(message, Stop):
            self._stop()
        elif isinstance(message, Go):
            self._may_go.set()

    def _stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self._may_go.set()
            self._run_stop = asyncio.get_running_loop().create_task(self._shard.stop())

    async def _report(self) -> None:
        last: object = None
        while True:
            progress = self._shard.engine.progress
            state = (progress.done, progress.committed.total(), +progress.waiting, +progress.holding, self._shard.already.copy())
            if state != last:
                last = state
                self._snapshot()
            await asyncio.sleep(REPORT_SECONDS)

    def _snapshot(self) -> None:
        writes = {name: self._client.counters(name).writes for name in self._limits} if self._client else {}
        _send(self._connection, Snapshot(self._shard.engine.look(), self._shard.already, self._shard.take_holds(), writes))

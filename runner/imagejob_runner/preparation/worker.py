"""A worker process: takes units of images, prepares one after the other, and sends back what is done in parts.

Files of this machine go through one plain loop, without a step of the event loop for each. What comes over a network is fetched side by
side, and decoded as it comes. It ends when the runner is gone.
"""

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from imagejob_api.pipeline import Step
from imagejob_api.redaction import redacted
from imagejob_runner.constants import ErrorCode
from imagejob_runner.device.split import Split
from imagejob_runner.exceptions import ImageError
from imagejob_runner.fetch import Fetcher
from imagejob_runner.pipeline.budget import Budget
from imagejob_runner.pipeline.retry import attempt, pause_after, timeout_error
from imagejob_runner.preparation.arena import SharedMemory
from imagejob_runner.preparation.board import DECODE, DOWNLOAD, Board
from imagejob_runner.preparation.orders import Orders
from imagejob_runner.preparation.outcomes import outcome
from imagejob_runner.preparation.places import is_remote
from imagejob_runner.preparation.preparer import AskFirst, Preparer, Task
from imagejob_runner.preparation.sender import Sender
from imagejob_runner.preparation.wire import Receiver

NICENESS: Final = 10
"""Inference and its interpreter have the CPU first: what is prepared too late is prepared when they have nothing to do."""
BYTES_GUESS: Final = 256 * 1024
"""Size assumed of an image before any has been downloaded, in bytes."""


def main(orders: Orders, connection: socket.socket, board: int, arena: int | None) -> None:
    """Works until the runner is gone; the target of the process.

    Args:
        orders: What to do.
        connection: Our end of the socket.
        board: File of the board.
        arena: File of the slots.
    """
    # Ctrl-C reaches every process of the terminal, and SIGTERM may reach all of a group; the runner decides what they mean.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(NICENESS)
    # What was loaded before the fork is shared; a garbage collection would write into all of it and make it this process's own.
    gc.freeze()
    asyncio.run(_Worker(orders, connection, board, arena).run())


class _Later(Exception):  # noqa: N818  a reason to wait, not an error
    def __init__(self, pause: float) -> None:
        super().__init__()
        self.pause = pause


class _Worker:
    def __init__(self, orders: Orders, connection: socket.socket, board: int, arena: int | None) -> None:
        self._recipe = recipe = orders.recipe
        self._receiver, self._sender = Receiver(connection), Sender(connection)
        self._socket = connection
        all_of_us = Board(SharedMemory(board, Board.size(orders.workers)), orders.workers)
        self._board = all_of_us.entry(orders.index)
        pixels = SharedMemory(arena, orders.arena) if arena is not None else None
        split = Split(orders.workers, orders.batch)
        self._preparer = Preparer(orders.recipe, pixels, orders.slot, orders.allowance, split, lambda: all_of_us.device)
        self._timeouts = tuple(step.timeout_seconds if step is not None else None for step in (recipe.download_step, recipe.decode_step))
        self._budget = Budget(orders.max_bytes)
        self._expected = float(BYTES_GUESS)
        self._downloads = asyncio.Semaphore(orders.downloads)
        self._inbox: deque[Task] = deque()
        self._asking: dict[int, Task] = {}
        self._slow: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._ended = False

    async def run(self) -> None:
        """Returns when the runner has closed its end."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._on_readable)
        self._sender.send("ready")
        async with contextlib.AsyncExitStack() as stack:
            self._fetcher = await stack.enter_async_context(Fetcher(self._recipe.download)) if self._recipe.download is not None else None
            while not (self._ended or self._sender.ended):
                if self._inbox:
                    self._take_up(self._inbox.popleft())
                    if self._slow or self._asking:
                        await asyncio.sleep(0)
                else:
                    self._sender.flush()
                    self._wake.clear()
                    await self._wake.wait()
            for task in self._slow:
                task.cancel()

    def _on_readable(self) -> None:
        for value, payload in self._receiver.messages():
            kind, *rest = value
            if kind == "unit":
                self._add(rest[0], payload)
            elif kind == "permit":
                task = self._asking.pop(rest[0])
                task.permitted = True
                self._inbox.appendleft(task)
            else:
                number, code, message, retryable = rest
                task = self._asking.pop(number)
                task.error = ImageError(code, message, retryable=retryable)
                self._finish(task)
        self._ended = self._receiver.ended
        self._wake.set()

    def _add(self, entries: list[list[Any]], payload: bytes | bytearray) -> None:
        view, place = memoryview(payload), 0
        for number, order, slot, used, url, size in entries:
            data = None
            if size is not None:
                data = bytes(view[place : place + size])
                place += size
            self._inbox.append(Task(number, order, slot, url, data, used))

    def _take_up(self, task: Task) -> None:
        if task.data is None and is_remote(task.url):
            self._later(self._remotely(task))
        else:
            try:
                self._locally(task)
            except _Later as later:
                self._later(self._again(task, later.pause))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        running = asyncio.get_running_loop().create_task(work)
        self._slow.add(running)
        running.add_done_callback(self._slow.discard)

    def _locally(self, task: Task) -> None:
        """Prepares an image as far as it goes without waiting.

        Raises:
            _Later: Another attempt may help.
        """
        try:
            if task.data is None:
                assert self._recipe.download_step is not None  # noqa: S101  there is one where images come without their bytes
                self._attempt(task, DOWNLOAD, self._recipe.download_step, self._preparer.read)
            self._attempt(task, DECODE, self._recipe.decode_step, self._preparer.decode)
        except AskFirst:
            self._ask(task)
        except ImageError as error:
            task.error = error
            self._finish(task)
        else:
            self._finish(task)
        finally:
            self._board.rest()

    def _attempt(self, task: Task, number: int, step: Step, work: Callable[[Task], None]) -> None:
        task.step, task.attempts = number, task.used[number] + 1
        self._board.begin(task.number, number)
        begun = time.monotonic()
        error: ImageError | None = None
        try:
            work(task)
        except ImageError as raised:
            error = raised
        except MemoryError:
            error = ImageError(ErrorCode.OUT_OF_MEMORY, "not enough memory to prepare this image", retryable=True)
        except AskFirst:
            raise
        except Exception as raised:  # noqa: BLE001  a defect, which costs this image and is told with its place
            sys.stderr.write(redacted(traceback.format_exc()))
            error = ImageError(ErrorCode.INTERNAL, f"internal error, please report it: {type(raised).__name__}: {raised}")
        took = time.monotonic() - begun
        task.seconds[number] = (task.seconds[number] or 0.0) + took
        timeout = self._timeouts[number]
        if timeout is not None and took > timeout:
            error = timeout_error(step)
        if error is not None:
            task.used[number] = task.attempts
            task.image = None
            pause = pause_after(step, task.attempts, error)
            if pause is None:
                raise error
            if task.permitted:
                # Others may have the room meanwhile.
                task.permitted = False
                _give_memory_back()
                self._sender.send("pause", task.number)
            raise _Later(pause)

    async def _again(self, task: Task, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            try:
                self._locally(task)
            except _Later as later:
                pause = later.pause
            else:
                return

    async def _remotely(self, task: Task) -> None:
        assert self._recipe.download_step is not None  # noqa: S101  there is one where images come without their bytes
        task.step = DOWNLOAD
        try:
            # First the bytes, then the turn: who has the turn must not wait for who waits for it.
            await self._hold(task, int(self._expected))
            async with self._downloads:
                await attempt(self._recipe.download_step, task, self._fetch, done=task.used[DOWNLOAD])
        except ImageError as error:
            task.error = error
            self._finish(task)
            return
        await self._hold(task, len(task.data or b""))
        self._take_up(task)

    async def _fetch(self, task: Task) -> None:
        assert self._fetcher is not None  # noqa: S101  made for the download step
        begun = time.monotonic()
        try:
            self._preparer.took(task, await self._fetcher.fetch(task.url))
        finally:
            task.seconds[DOWNLOAD] = (task.seconds[DOWNLOAD] or 0.0) + time.monotonic() - begun

    async def _hold(self, task: Task, amount: int) -> None:
        if not task.held:
            await self._budget.take(task.order, amount)
        else:
            self._expected += 0.1 * (amount - self._expected)
            await self._budget.give_back(task.order, task.held - amount)
        task.held = amount

    def _ask(self, task: Task) -> None:
        assert task.probe is not None  # noqa: S101  it was found too large
        if task.fetched and not task.held:
            # A file can be read again, so it need not be held while it waits.
            if self._budget.take_now(task.order, len(task.data or b"")):
                task.held = len(task.data or b"")
            else:
                task.data = None
        self._asking[task.number] = task
        probe = task.probe
        self._sender.send("ask", task.number, probe.format, probe.width, probe.height, probe.draft, probe.memory)

    def _finish(self, task: Task) -> None:
        task.data = None
        if task.permitted:
            _give_memory_back()
        if task.held:
            held, task.held = task.held, 0
            self._later(self._budget.give_back(task.order, held))
        self._sender.add(outcome(task), task.image)
        if not self._inbox:
            self._wake.set()


def _give_memory_back() -> None:
    """The allocator keeps what is freed (see `process`): of a large picture, in each of many processes, that would be too much."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)

"""SIGTERM, SIGINT, or no valid token any more: asked to end, a pod keeps what is whole and gives its slots back."""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

from imagejob_runner.pod.exits import StoppedError
from imagejob_runner.pod.signals import SIGNALS, let_signals_come

_CANCEL_SECONDS: Final = 1.0

T = TypeVar("T")


class Stop:
    """Whether the process was asked to end. A second signal means no more than the first one."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()

    def listen(self) -> None:
        """Takes signals, those held as well, from now on; to be called in the event loop."""
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._asked.set)
        let_signals_come()

    def ask(self) -> None:
        """Asks, as a signal does."""
        self._asked.set()

    @property
    def asked(self) -> bool:
        """Whether it was."""
        return self._asked.is_set()

    async def during(self, task: "asyncio.Task[Any]", *, within: float | None = None) -> bool:
        """Waits until a task is done, a signal has come or `within` seconds have passed.

        Returns:
            Whether the task is done.
        """
        signalled = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait({task, signalled}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            signalled.cancel()
        return task.done()

    async def or_else(self, work: Awaitable[T]) -> T:
        """The result of work that can be dropped at any moment.

        Raises:
            StoppedError: A signal came first.
        """
        task = asyncio.ensure_future(work)
        if not await self.during(task):
            task.cancel()
            # What runs in a thread cannot be cancelled; the end of the process ends it.
            await asyncio.wait({task}, timeout=_CANCEL_SECONDS)
            raise StoppedError("asked to stop; another pod goes on")
        return task.result()

"""Room for images whose decoding takes more memory than a worker may use unasked."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from imagejob_runner.exceptions import ImageError
from imagejob_runner.images.probe import Probe
from imagejob_runner.preparation.entry import Entry
from imagejob_runner.preparation.handle import WorkerHandle

Permit = Callable[[int, Probe], AbstractAsyncContextManager[None]]
"""Of an image's number and header: what is entered before it is decoded, which may wait or raise ImageError, and left afterwards."""


class Permits:
    """Asks for room, and keeps it as long as it is needed.

    Args:
        permit: Gives it.
        fail: Called with what `permit` raises besides ImageError.
    """

    def __init__(self, permit: Permit, fail: Callable[[Exception], None]) -> None:
        self._permit, self._fail = permit, fail
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, worker: WorkerHandle, entry: Entry, probe: Probe) -> None:
        """Tells the worker that it may decode the image, or why not, as soon as that is known."""
        entry.over = asyncio.Event()
        entry.permit = asyncio.get_running_loop().create_task(self._permitted(worker, entry, entry.over, entry.permit, probe))
        self._tasks.add(entry.permit)
        entry.permit.add_done_callback(self._tasks.discard)

    def let_go(self, entry: Entry) -> None:
        """The image does not need the room at present: its worker is gone, or waits before another attempt."""
        if entry.over is not None:
            entry.over.set()
            if not entry.granted and entry.permit is not None:
                entry.permit.cancel()
            entry.over, entry.granted = None, False

    async def end(self) -> None:
        """Leaves all that was entered."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _permitted(
        self, worker: WorkerHandle, entry: Entry, over: asyncio.Event, before: "asyncio.Task[None] | None", probe: Probe
    ) -> None:
        number = entry.request.number
        if before is not None:
            await asyncio.wait([before])
        try:
            async with self._permit(number, probe):
                entry.granted = True
                worker.send(("permit", number))
                await over.wait()
        except ImageError as error:
            worker.send(("refuse", number, error.code, error.message, error.retryable))
        except Exception as error:  # noqa: BLE001  it ends the run, which waits for results
            self._fail(error)

"""Waiting for what blocks, without being held up by it when one wants to end."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def in_daemon(function: Callable[[], T]) -> T:
    """The result of a function that blocks, called in a thread of its own.

    Unlike with `asyncio.to_thread`, neither the loop's end nor the process's waits for a function that still runs.
    """
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    result: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            result.set_result(function())
        except BaseException as error:  # noqa: BLE001  raised again where it is awaited
            result.set_exception(error)
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, daemon=True).start()
    await done.wait()
    return result.result()

"""A wake-up that one thread gives and tasks in any event loop wait for."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class ThreadsafeSignal:
    """Wakes all who wait now; remembers nothing. Register first, then check the condition, then wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: set[asyncio.Future[None]] = set()

    @contextmanager
    def waiter(self) -> Iterator[asyncio.Future[None]]:
        """A future of the running loop that the next `notify` completes."""
        future = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiters.add(future)
        try:
            yield future
        finally:
            with self._lock:
                self._waiters.discard(future)
            future.cancel()

    def notify(self) -> None:
        """Wake all who wait, from any thread."""
        with self._lock:
            waiters, self._waiters = self._waiters, set()
        for future in waiters:
            with suppress(RuntimeError):  # its loop was closed: nobody waits any more
                future.get_loop().call_soon_threadsafe(_complete, future)


def _complete(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

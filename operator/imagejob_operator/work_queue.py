"""The one queue between events and reconciles.

Events say only *that* something changed; they become keys here, and a key is reconciled from what is there by then. Many events of one
object cost one reconcile, no object is reconciled twice at once, and what failed is tried again: kopf does not do so for `on.event`.

A key is in at most one of these places, so the queue never holds more than there are objects:

    later ──time──▶ ready ──worker──▶ running ──▶ gone
      ▲               ▲                  │
      └── error, or "again in n s" ──────┤
                      └── added meanwhile ┘

(`later` and `ready` may both know a key that is running: whichever comes first wins when it has ended.)
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final

logger = logging.getLogger(__name__)

Key = tuple[str, ...]
"""What is to be reconciled; its kind comes first: ``("ImageJob", namespace, name)``."""

URGENT_IN_A_ROW: Final = 4
"""Urgent keys after which another one has its turn, if any waits."""
BACKOFF_FIRST_SECONDS: Final = 0.2
BACKOFF_LAST_SECONDS: Final = 60.0
_LONGEST_TEXT: Final = 1000
"""Of an error that is remembered: the API server quotes what users wrote."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one reconcile ended."""

    key: Key
    seconds: float
    """How long it took."""
    error: BaseException | None
    """What it raised."""


@dataclass(frozen=True, slots=True)
class _Failures:
    """A key's errors in a row."""

    count: int
    text: str
    """The last one; it is logged again only if it reads otherwise."""


class WorkQueue:
    """Reconciles keys, each one at a time and several at once. Everything is called from one event loop.

    Args:
        reconcile: Makes the world of one key as it should be. It returns None, or the seconds after which to look again.
        workers: Reconciles at the same time.
        urgent: Kinds that go before the others, `URGENT_IN_A_ROW` at a time: a stream of them holds up nobody else for long.
        deadline_seconds: A reconcile that takes longer is cancelled, and counts as an error.
        ended: Told of every reconcile that ended.
    """

    def __init__(
        self,
        reconcile: Callable[[Key], Awaitable[float | None]],
        *,
        workers: int,
        urgent: Collection[str] = (),
        deadline_seconds: float = 120.0,
        ended: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> None:
        self._reconcile = reconcile
        self._workers = workers
        self._urgent = frozenset(urgent)
        self._deadline_seconds = deadline_seconds
        self._ended = ended
        self._waiting = asyncio.Semaphore(0)
        self._urgent_keys: deque[Key] = deque()
        self._other_keys: deque[Key] = deque()
        self._in_a_row = 0
        self._ready: dict[Key, float] = {}
        self._later: dict[Key, asyncio.TimerHandle] = {}
        self._running: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, _Failures] = {}

    @property
    def depth(self) -> int:
        """Keys that wait for a worker; not those that wait for their time."""
        return len(self._ready)

    @property
    def oldest_seconds(self) -> float:
        """How long the key that has waited longest for a worker has done so; 0 without any."""
        return asyncio.get_running_loop().time() - min(self._ready.values()) if self._ready else 0.0

    def add(self, key: Key) -> None:
        """Reconcile a key as soon as a worker is free; once more, if it is being reconciled now."""
        self._forget_timer(key)
        if key in self._running:
            self._again.add(key)
        elif key not in self._ready:
            self._ready[key] = asyncio.get_running_loop().time()
            (self._urgent_keys if key[0] in self._urgent else self._other_keys).append(key)
            self._waiting.release()

    def add_after(self, key: Key, seconds: float) -> None:
        """Reconcile a key in so many seconds, unless that happens earlier anyway."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        known = self._later.get(key)
        if key in self._ready or key in self._again or (known is not None and known.when() <= loop.time() + seconds):
            return
        self._forget_timer(key)
        self._later[key] = loop.call_later(seconds, self.add, key)

    async def run(self) -> None:
        """Reconcile until cancelled. What is running then is cancelled, too."""
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._workers):
                    workers.create_task(self._work())
        finally:
            for timer in self._later.values():
                timer.cancel()
            self._later.clear()

    async def _work(self) -> None:
        while True:
            await self._waiting.acquire()
            key = self._next()
            del self._ready[key]
            self._running.add(key)
            try:
                delay = await self._attempt(key)
            finally:
                self._running.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.add(key)
            elif delay is not None:
                self.add_after(key, delay)
            await asyncio.sleep(0)  # a reconcile that never waits would keep watches and probes from their turn

    def _next(self) -> Key:
        """The key whose turn it is; one must be there."""
        if self._urgent_keys and (self._in_a_row < URGENT_IN_A_ROW or not self._other_keys):
            self._in_a_row += 1
            return self._urgent_keys.popleft()
        self._in_a_row = 0
        return self._other_keys.popleft()

    async def _attempt(self, key: Key) -> float | None:
        """Reconcile a key; returns when to do so again."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(self._deadline_seconds):
                delay = await self._reconcile(key)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return self._failed(Outcome(key, loop.time() - started, error))  # something below was cancelled, and not this worker
        except Exception as error:  # noqa: BLE001  whatever is wrong with one object must not stop the others
            return self._failed(Outcome(key, loop.time() - started, error))
        self._failures.pop(key, None)
        self._ended(Outcome(key, loop.time() - started, None))
        return delay

    def _failed(self, outcome: Outcome) -> float:
        before = self._failures.get(outcome.key)
        text = repr(outcome.error)[:_LONGEST_TEXT]
        count = before.count + 1 if before else 1
        self._failures[outcome.key] = _Failures(count, text)
        if before is None or before.text != text:
            logger.error("Reconciling %s failed; trying again", "/".join(outcome.key), exc_info=outcome.error)
        self._ended(outcome)
        delay = min(BACKOFF_LAST_SECONDS, BACKOFF_FIRST_SECONDS * 2.0 ** min(count - 1, 32))
        return delay * random.uniform(0.5, 1)  # noqa: S311  no secret

    def _forget_timer(self, key: Key) -> None:
        timer = self._later.pop(key, None)
        if timer is not None:
            timer.cancel()

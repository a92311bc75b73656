"""Reads ahead: a few requests at once, answers in order, memory for a few parts only."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Final, TypeVar

from imagejob_runner.planning import Plan

_AHEAD: Final = 8
_ROWS_AHEAD: Final = 16_384

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def parts_ahead(plan: Plan) -> int:
    """Parts to read at once: eight, or fewer where each has many rows."""
    return max(1, min(_AHEAD, _ROWS_AHEAD // plan.chunk_size))


async def ordered(
    keys: Iterable[_Key] | AsyncIterable[_Key], work: Callable[[_Key], Awaitable[_Value]], ahead: int = _AHEAD
) -> AsyncGenerator[_Value, None]:
    """The results of `work` for each key, in the order of the keys, with up to `ahead` calls under way."""
    waiting: deque[asyncio.Future[_Value]] = deque()
    try:
        async for key in _each(keys):
            waiting.append(asyncio.ensure_future(work(key)))
            if len(waiting) >= ahead:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _each(keys: Iterable[_Key] | AsyncIterable[_Key]) -> AsyncIterator[_Key]:
    if isinstance(keys, AsyncIterable):
        async for key in keys:
            yield key
        return
    for key in keys:
        yield key

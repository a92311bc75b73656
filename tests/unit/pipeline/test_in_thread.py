"""Work in threads, which nobody can interrupt."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from imagejob_runner.pipeline.works.base import in_thread
from tests.unit.pipeline.levers import quiet


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


async def test_it_returns_and_raises_what_the_function_does(threads: ThreadPoolExecutor) -> None:
    assert await in_thread(threads, divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await in_thread(threads, divmod, 7, 0)


async def test_who_gives_up_goes_on_when_the_function_has_returned(threads: ThreadPoolExecutor) -> None:
    begun, end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        end.wait()

    waiting = asyncio.create_task(in_thread(threads, work))
    await begun.wait()
    waiting.cancel()
    await quiet(lambda: 0)
    assert not waiting.done()
    end.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 5)


async def test_what_has_not_begun_is_dropped(threads: ThreadPoolExecutor) -> None:
    end, called = threading.Event(), threading.Event()
    first = asyncio.create_task(in_thread(threads, end.wait))
    second = asyncio.create_task(in_thread(threads, called.set))
    await quiet(lambda: 0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(second, 5)
    end.set()
    await first
    assert not called.is_set()

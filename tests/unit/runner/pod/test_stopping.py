"""SIGTERM and SIGINT in a pod: held until there is a handler, and the same the second time."""

import asyncio
import os
import signal
import threading

import pytest

from imagejob_runner.pod.exits import StoppedError
from imagejob_runner.pod.signals import SIGNALS, hold_signals, let_signals_come
from imagejob_runner.pod.stopping import Stop


@pytest.mark.parametrize("number", sorted(SIGNALS))
async def test_a_signal_that_comes_before_there_is_a_handler_is_not_lost(number: signal.Signals) -> None:
    hold_signals()
    try:
        signal.raise_signal(number)
        stop = Stop()
        stop.listen()
        async with asyncio.timeout(10):
            with pytest.raises(StoppedError):
                await stop.or_else(asyncio.sleep(60))
        assert stop.asked
        os.kill(os.getpid(), number)
        await asyncio.sleep(0)
        assert stop.asked
    finally:
        let_signals_come()
        asyncio.get_running_loop().remove_signal_handler(number)


async def test_work_that_is_done_first_gives_its_result_or_its_error() -> None:
    stop = Stop()
    assert await stop.or_else(asyncio.sleep(0, "done")) == "done"

    async def fails() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        await stop.or_else(fails())


async def test_work_in_a_thread_is_left_behind() -> None:
    stop, go = Stop(), threading.Event()
    stop._asked.set()
    async with asyncio.timeout(10):
        with pytest.raises(StoppedError):
            await stop.or_else(asyncio.to_thread(go.wait, 30))
    go.set()

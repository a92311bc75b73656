"""How the start of a command is told, and waiting for what must not hold up its end."""

import asyncio
import threading
import time

import pytest

from imagejob_runner.daemon import in_daemon
from imagejob_runner.pipeline.turn import now
from imagejob_runner.startup import StartUp, process_begun


def test_a_process_knows_when_it_was_started() -> None:
    cpu, begun = time.process_time(), process_begun()
    assert cpu <= now() - begun + 0.02  # a tick of the kernel's clock
    assert process_begun() == begun


def test_only_phases_that_happened_are_told() -> None:
    assert StartUp(begun=5.0, importing=2.3004, first_image=3.0).as_json() == {"importSeconds": 2.3, "firstImageSeconds": 3.0}


async def test_what_a_blocking_function_gives_or_raises_comes_back() -> None:
    assert await in_daemon(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await in_daemon(lambda: 1 // 0)


def test_a_function_that_still_blocks_does_not_hold_up_the_end() -> None:
    over = threading.Event()

    async def give_up() -> None:
        task = asyncio.create_task(in_daemon(over.wait))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(give_up())  # with a thread of the loop's own this would wait for ever
    over.set()

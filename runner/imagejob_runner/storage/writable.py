"""Waits until an output can be written to: what every run does before it lists, downloads or computes anything."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from imagejob_runner.exceptions import StorageAwayError
from imagejob_runner.storage.base import OutputStore

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0


async def until_writable(output: OutputStore, patience: float, on_away: Callable[[str], Awaitable[None]]) -> None:
    """Returns when the output can be written to.

    Args:
        output: The output.
        patience: Seconds that its storage may be away.
        on_away: Told what is wrong, after each attempt that was in vain.

    Raises:
        StorageRefusedError: It cannot be, and will not be before somebody changes something.
        StorageAwayError: Its storage was away for longer than `patience`.
    """
    give_up, pause = time.monotonic() + patience, FIRST_PAUSE_SECONDS
    while True:
        try:
            await output.check()
        except StorageAwayError as error:
            if time.monotonic() + pause > give_up:
                raise
            await on_away(str(error))
        else:
            return
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

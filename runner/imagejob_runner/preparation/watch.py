"""Ends workers that do not move: a file system that is gone, a decoding without an end."""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from imagejob_runner.preparation.board import Board
from imagejob_runner.preparation.handle import WorkerHandle
from imagejob_runner.preparation.recipe import PreparationRecipe

_KILLED_SECONDS: Final = 1.0
"""After a kill a process that the kernel does not let go is not waited for any longer."""


async def watch(recipe: PreparationRecipe, board: Board, workers: Mapping[int, WorkerHandle]) -> None:
    """Kills each worker that is at a step of an image for longer than that step's timeout. Returns at once if no step has one.

    Args:
        recipe: Tells the steps.
        board: What the workers are at.
        workers: Those that there are, at any time.
    """
    steps = (recipe.download_step, recipe.decode_step)
    limits = [step.timeout_seconds if step is not None else None for step in steps]
    shortest = min((limit for limit in limits if limit is not None), default=None)
    if shortest is None:
        return
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(min(1.0, max(0.02, shortest / 10)))
        for worker in list(workers.values()):
            standing = board.standing(worker.index)
            limit = limits[standing.step] if standing is not None else None
            if standing is None or limit is None or worker.overdue or standing.number not in worker.board:
                continue
            if time.monotonic() - standing.since > limit:
                worker.overdue = True
                worker.kill()
                loop.call_later(_KILLED_SECONDS, worker.give_up)

"""Ends workers that do not move: a file system that is gone, a decoding without an end."""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import Final

from imagejob_api.base import duration_seconds
from imagejob_api.pipeline import Step
from imagejob_runner.pipeline.retry import MAX_RETRY_AFTER_SECONDS
from imagejob_runner.preparation.board import Board
from imagejob_runner.preparation.handle import WorkerHandle
from imagejob_runner.preparation.recipe import PreparationRecipe

GRACE_SECONDS: Final = 60.0
"""A worker may be silent for so much longer than it should."""
_KILLED_SECONDS: Final = 1.0
"""After a kill a process that the kernel does not let go is not waited for any longer."""


async def watch(recipe: PreparationRecipe, board: Board, workers: Mapping[int, WorkerHandle]) -> None:
    """Kills each worker that is at a step of an image for longer than that step's timeout. Returns at once if no step has one.

    A worker that has been taken over may not say what it is at. Where all steps have a timeout it is also killed when nothing was heard of
    it for longer than all attempts at all that it has on board may take.

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
    work, pauses = _longest([step for step in steps if step is not None])
    while True:
        await asyncio.sleep(min(1.0, max(0.02, shortest / 10)))
        for worker in list(workers.values()):
            standing = board.standing(worker.index)
            limit = limits[standing.step] if standing is not None else None
            silent = worker.busy * work + pauses + GRACE_SECONDS
            if worker.ready and worker.busy and not worker.overdue and time.monotonic() - worker.heard > silent:
                _end(worker)
                continue
            if standing is None or limit is None or worker.overdue or standing.number not in worker.board:
                continue
            if time.monotonic() - standing.since > limit:
                _end(worker)


def _longest(steps: Sequence[Step]) -> tuple[float, float]:
    """Seconds that all attempts at one image may take, and the pauses between them, in which others have their turn."""
    work = sum((step.timeout_seconds or math.inf) * (step.retries.limit + 1) for step in steps)
    pauses = sum(step.retries.limit * max(MAX_RETRY_AFTER_SECONDS, duration_seconds(step.retries.max_backoff)) for step in steps)
    return work, pauses


def _end(worker: WorkerHandle) -> None:
    worker.overdue = True
    worker.kill()
    asyncio.get_running_loop().call_later(_KILLED_SECONDS, worker.give_up)

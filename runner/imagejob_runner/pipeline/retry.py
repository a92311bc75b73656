"""Attempts of one step on one image: timeout, backoff, and what is worth repeating."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from imagejob_api.base import duration_seconds
from imagejob_api.pipeline import Step
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError

MAX_RETRY_AFTER_SECONDS = 120.0


class Attempted(Protocol):
    """An image, as far as attempts go."""

    attempts: int
    """How many there were of the step that it is in."""


A = TypeVar("A", bound=Attempted)


async def attempt(
    step: Step,
    flight: A,
    work: Callable[[A], Awaitable[None]],
    *,
    done: int = 0,
    before: Callable[[], Awaitable[None]] | None = None,
    between: Callable[[], Awaitable[None]] | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Runs `work` on an image until it succeeds or another attempt would not help.

    `flight.attempts` tells how many attempts there were; between them it waits as `pause_after` says.

    Args:
        step: Tells timeout and retries.
        flight: The image.
        work: One attempt.
        done: Attempts that there were before.
        before: Awaited before each attempt, outside its timeout: waiting for a slot is no part of the work.
        between: Awaited before each pause: a slot is not kept through one.
        sleep: What pauses.

    Raises:
        ImageError: The last attempt failed.
        SkipImage: The step chose to leave the image out.
        Exception: What else `work` raises.
    """
    flight.attempts = done
    while True:
        flight.attempts += 1
        if before is not None:
            await before()
        try:
            async with asyncio.timeout(step.timeout_seconds):
                await work(flight)
        except TimeoutError:
            error = timeout_error(step)
        except ImageError as raised:
            error = raised
        else:
            return
        pause = pause_after(step, flight.attempts, error)
        if pause is None:
            raise error
        if between is not None:
            await between()
        await sleep(pause)


def pause_after(step: Step, attempts: int, error: ImageError) -> float | None:
    """How long to wait before the next attempt, in seconds; None if there is to be none.

    The wait before attempt n is drawn from ``[0, min(maxBackoff, backoff * 2**(n-2))]`` ("full jitter"), or is what the other side asked
    for (Retry-After), bounded by two minutes.

    Args:
        step: Tells the retries.
        attempts: How many there were.
        error: What the last one ended with.
    """
    if not error.retryable or attempts > step.retries.limit:
        return None
    base, most = duration_seconds(step.retries.backoff), duration_seconds(step.retries.max_backoff)
    pause = random.uniform(0, min(most, base * 2 ** (attempts - 1)))  # noqa: S311  spreads load, hides nothing
    return pause if error.retry_after is None else min(max(pause, error.retry_after), MAX_RETRY_AFTER_SECONDS)


def timeout_error(step: Step) -> ImageError:
    """The error of an attempt that took too long."""
    return ImageError(ErrorCode.TIMEOUT, f"step {step.name} took longer than its timeout of {step.timeout_seconds} s", retryable=True)

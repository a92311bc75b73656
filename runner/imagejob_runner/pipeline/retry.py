"""Attempts of one step on one image: timeout, backoff, and what is worth repeating."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from imagejob_api.base import duration_seconds
from imagejob_api.pipeline import Step
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError
from imagejob_runner.pipeline.flight import Flight

MAX_RETRY_AFTER_SECONDS = 120.0


async def attempt(
    step: Step,
    flight: Flight,
    work: Callable[[Flight], Awaitable[None]],
    *,
    before: Callable[[], Awaitable[None]] | None = None,
    between: Callable[[], Awaitable[None]] | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Runs `work` on an image until it succeeds or another attempt would not help.

    The wait before attempt n is drawn from ``[0, min(maxBackoff, backoff * 2**(n-2))]`` ("full jitter"), or is what the other side asked
    for (Retry-After), bounded by two minutes. `flight.attempts` tells how many there were.

    Args:
        step: Tells timeout and retries.
        flight: The image.
        work: One attempt.
        before: Awaited before each attempt, outside its timeout: waiting for a slot is no part of the work.
        between: Awaited before each pause: a slot is not kept through one.
        sleep: What pauses.

    Raises:
        ImageError: The last attempt failed.
        SkipImage: The step chose to leave the image out.
        Exception: What else `work` raises.
    """
    base, most = duration_seconds(step.retries.backoff), duration_seconds(step.retries.max_backoff)
    flight.attempts = 0
    while True:
        flight.attempts += 1
        if before is not None:
            await before()
        try:
            async with asyncio.timeout(step.timeout_seconds):
                await work(flight)
        except TimeoutError:
            error = ImageError(
                ErrorCode.TIMEOUT, f"step {step.name} took longer than its timeout of {step.timeout_seconds} s", retryable=True
            )
        except ImageError as raised:
            error = raised
        else:
            return
        if not error.retryable or flight.attempts > step.retries.limit:
            raise error
        if between is not None:
            await between()
        pause = random.uniform(0, min(most, base * 2 ** (flight.attempts - 1)))  # noqa: S311  spreads load, hides nothing
        if error.retry_after is not None:
            pause = min(max(pause, error.retry_after), MAX_RETRY_AFTER_SECONDS)
        await sleep(pause)

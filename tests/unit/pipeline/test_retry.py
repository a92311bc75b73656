import asyncio
import time

import pytest

from imagejob_api.pipeline import Step
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError, SkipImage
from imagejob_runner.item import ImageItem
from imagejob_runner.pipeline.flight import ChunkInFlight, Flight
from imagejob_runner.pipeline.retry import attempt


def a_step(**fields: object) -> Step:
    return Step.model_validate({"name": "work", "download": {}, "retries": {"limit": 3, "backoff": "1ms", "maxBackoff": "2ms"}, **fields})


def a_flight() -> Flight:
    return Flight(ImageItem("a", "file:///a"), ChunkInFlight(1, 0, [None], 1), 0)


class Script:
    """Work that fails as the script says, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), 0

    async def __call__(self, _: Flight) -> None:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)


async def test_an_error_that_another_attempt_may_help_is_tried_again() -> None:
    work, flight = Script(ImageError(ErrorCode.HTTP_STATUS, "500", retryable=True)), a_flight()
    await attempt(a_step(), flight, work)
    assert (work.calls, flight.attempts) == (2, 2)


async def test_the_last_error_stands_when_the_attempts_are_used_up() -> None:
    work, flight = Script(*[ImageError(ErrorCode.HTTP_STATUS, str(number), retryable=True) for number in range(9)]), a_flight()
    with pytest.raises(ImageError, match="3"):
        await attempt(a_step(), flight, work)
    assert flight.attempts == 4


@pytest.mark.parametrize("error", [ImageError(ErrorCode.NOT_FOUND, "gone"), SkipImage("no")])
async def test_what_another_attempt_cannot_help_is_not_tried_again(error: Exception) -> None:
    work, flight = Script(error), a_flight()
    with pytest.raises(type(error)):
        await attempt(a_step(), flight, work)
    assert flight.attempts == 1


async def test_an_attempt_that_takes_too_long_is_cut_and_named() -> None:
    async def never(_: Flight) -> None:
        await asyncio.Event().wait()

    flight = a_flight()
    with pytest.raises(ImageError, match=r"step work took longer than its timeout of 0\.01 s") as caught:
        await attempt(a_step(timeout="10ms", retries={"limit": 1, "backoff": "1ms"}), flight, never)
    assert (caught.value.code, caught.value.retryable, flight.attempts) == (ErrorCode.TIMEOUT, True, 2)


async def test_the_other_side_may_ask_for_a_longer_pause() -> None:
    begun = time.monotonic()
    await attempt(a_step(), a_flight(), Script(ImageError(ErrorCode.HTTP_STATUS, "503", retryable=True, retry_after=0.2)))
    assert time.monotonic() - begun >= 0.2


async def test_the_slot_is_taken_before_each_attempt_and_not_kept_through_a_pause() -> None:
    happened: list[str] = []

    async def note(what: str) -> None:
        happened.append(what)

    error = ImageError(ErrorCode.CALL_FAILED, "x", retryable=True)
    await attempt(a_step(), a_flight(), Script(error), before=lambda: note("take"), between=lambda: note("leave"))
    assert happened == ["take", "leave", "take"]

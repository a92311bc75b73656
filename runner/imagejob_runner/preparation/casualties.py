"""What is said of an image that ended the process that prepared it."""

import signal
from typing import Final

from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError

_DAMAGED: Final = "the file may be damaged, or made to do that"


def decoder_died(attempts: int, status: int | None, *, senseless: bool = False) -> ImageError:
    """The error of an image that has ended so many workers.

    Args:
        attempts: How often.
        status: Exit status of the last one, or minus the signal that ended it; None if nobody knows.
        senseless: It was ended on purpose, since what it sent made no sense.
    """
    how, hint = ("what it sent made no sense", _DAMAGED) if senseless else _how(status)
    times = "once" if attempts == 1 else f"{attempts} times"
    return ImageError(ErrorCode.DECODER_DIED, f"decoding this image ended the process that did it ({how}), {times}; {hint}")


def _how(status: int | None) -> tuple[str, str]:
    if status is None:
        return "nobody knows how", _DAMAGED
    if status >= 0:
        return f"exit status {status}", _DAMAGED
    if -status == signal.SIGKILL:
        return f"signal {-status}", "memory may have run out: give it more, or make the image smaller"
    return f"signal {-status}", _DAMAGED

"""Waiting for what a cluster does in its own time."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from tests.cluster.exceptions import CommandError

T = TypeVar("T")

_SECONDS: Final = 60
_LOOK_AGAIN_SECONDS: Final = 0.2


def eventually(ask: Callable[[], T], wanted: T, seconds: float = _SECONDS) -> None:
    """Asks until the answer is the wanted one; fails with the last answer at a deadline. That a command failed is an answer, too."""
    deadline = time.monotonic() + seconds
    while True:
        answer: object
        try:
            answer = ask()
        except CommandError as error:
            answer = error
        if answer == wanted:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:.0f} s still {answer!r}, and not {wanted!r}")
        time.sleep(_LOOK_AGAIN_SECONDS)

"""How many a second, of late."""

from collections import deque
from collections.abc import Callable
from typing import Final

from imagejob_runner.pipeline.turn import now

WINDOW_SECONDS: Final = 10.0


class Rate:
    """The rate at which a number has grown within the last `WINDOW_SECONDS`.

    Args:
        clock: Seconds of a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = now) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque([(clock(), 0)])

    def update(self, count: int) -> float:
        """Takes in what the number is now, and returns its rate a second."""
        moment = self._clock()
        self._seen.append((moment, count))
        while self._seen[0][0] < moment - WINDOW_SECONDS:
            self._seen.popleft()
        then, before = self._seen[0]
        return max(0.0, (count - before) / (moment - then)) if moment > then else 0.0

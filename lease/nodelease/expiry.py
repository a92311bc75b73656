"""Who has not renewed for a whole lease duration, or not taken up its grant, by the observer's own clock alone.

No clock of another machine is ever read: a holder is dead when *this* observer has seen nothing of it change for the time that it has.
"""

from nodelease.constants import EXPIRY_STAGGER_SECONDS, TAKE_UP_SECONDS
from nodelease.state import Holder, LeaseState


def span(beat: int, duration: float) -> float:
    """Seconds without a sign after which a holder is taken for dead.

    Args:
        beat: Its renewals so far. With none, it may not even have heard of its grant.
        duration: The lease duration, in seconds.
    """
    return duration if beat > 0 else min(TAKE_UP_SECONDS, duration)


class BeatObserver:
    """Remembers since when each holder looks as it looks now."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, int, int], float] = {}

    def observe(self, state: LeaseState, now: float) -> None:
        """Take in a state seen at `now`."""
        self._since = {key: self._since.get(key, now) for key in map(_key, state.holders)}

    def due(self, state: LeaseState, now: float, rank: int) -> list[Holder]:
        """The holders to expire.

        Args:
            state: The state observed last.
            now: The time.
            rank: How many processes wait before the observer. Those further back look a little later, so that they do not all write.
        """
        return [holder for holder in state.holders if self._due_at(holder, state, now, rank) <= now]

    def next_due(self, state: LeaseState, now: float, rank: int) -> float | None:
        """When to look again; None without holders."""
        return min((self._due_at(holder, state, now, rank) for holder in state.holders), default=None)

    def _due_at(self, holder: Holder, state: LeaseState, now: float, rank: int) -> float:
        return self._since.get(_key(holder), now) + span(holder.beat, state.duration_seconds) + rank * EXPIRY_STAGGER_SECONDS


def _key(holder: Holder) -> tuple[str, int, int]:
    return (holder.id, holder.fence, holder.beat)

"""What the rest of the operator may know of limits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from imagejob_api.constants import MAX_PRIORITY
from imagejob_operator.limits.cache import LimitCache


@dataclass(frozen=True, slots=True)
class LimitFacts:
    """A limit, for whoever makes pods that need it."""

    active: bool
    """False: nobody is granted a slot now."""
    node_selector: Mapping[str, str]
    """Labels of the nodes that have it."""
    on_nodes: bool
    """Whether any node has it."""
    max_hold: str = "1m"
    """Longest hold, as the NodeLimit writes it."""
    max_priority: int = MAX_PRIORITY
    """Highest priority."""


class LimitsView:
    """Reads the newest known of the limits."""

    def __init__(self, cache: LimitCache) -> None:
        self._cache = cache
        self._subscribers: list[Callable[[str], None]] = []
        self._told: dict[str, LimitFacts] = {}
        self.synced = False
        """Whether all NodeLimits and Nodes are known; until then a limit that is not there may only not have been seen yet."""

    def get(self, name: str) -> LimitFacts | None:
        """The facts of a limit; None if there is no NodeLimit of that name that can be understood."""
        state = self._cache.limits.get(name)
        if state is None or state.limit is None:
            return None
        spec = state.limit.spec
        return LimitFacts(spec.active, spec.node_selector, bool(state.goals), spec.max_hold, spec.max_priority)

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Have a function called with a limit's name whenever its facts are others."""
        self._subscribers.append(callback)

    def refresh(self, name: str) -> None:
        """Tell the subscribers, if a limit's facts are others than they were told."""
        facts = self.get(name)
        if facts == self._told.get(name):
            return
        if facts is None:
            del self._told[name]
        else:
            self._told[name] = facts
        for callback in self._subscribers:
            callback(name)

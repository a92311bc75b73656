"""What is known of NodeLimits, Nodes and their Leases, with everything that would be slow to count kept as running sums.

One event costs as much as there are limits or, for a NodeLimit, nodes; never limits times nodes.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from imagejob_operator.limits.facts import Goal, Limit, NodeFacts, Pair, goal_of
from imagejob_operator.limits.records import LeaseRecord


@dataclass(slots=True)
class LimitState:
    """All about one limit. It is kept as long as there is a NodeLimit or a Lease of it."""

    limit: Limit | None = None
    """The NodeLimit; None if there is none, or none that can be understood."""
    uid: str = ""
    """The NodeLimit's uid."""
    invalid: str = ""
    """Why the NodeLimit cannot be understood: then its Leases are left as they are."""
    goals: dict[str, Goal] = field(default_factory=dict)
    """By node."""
    leases: dict[str, LeaseRecord] = field(default_factory=dict)
    """By node."""
    unsettled: set[str] = field(default_factory=set)
    """Nodes whose Lease does not say yet what it is to say."""
    slots: int = 0
    """Slots that the Leases say."""
    held: int = 0
    waiting: int = 0

    @property
    def numbers(self) -> dict[str, int]:
        """The numbers of the NodeLimit's status."""
        return {"nodes": len(self.leases), "slots": self.slots, "held": self.held, "waiting": self.waiting}

    def set_goal(self, node: str, goal: Goal | None) -> bool:
        """Returns whether that is another one than before."""
        before = self.goals.pop(node, None)
        if goal is not None:
            self.goals[node] = goal
        self._settle(node)
        return goal != before

    def set_lease(self, node: str, record: LeaseRecord | None) -> None:
        """The Lease on a node is now this one."""
        for old, sign in ((self.leases.pop(node, None), -1), (record, 1)):
            if old is not None and old.state is not None:
                self.slots += sign * old.state.slots
                self.held += sign * old.state.held
                self.waiting += sign * len(old.state.queue)
        if record is not None:
            self.leases[node] = record
        self._settle(node)

    def _settle(self, node: str) -> None:
        goal, record = self.goals.get(node), self.leases.get(node)
        state = record.state if record else None
        said = Goal(state.slots, state.active, state.duration_seconds, state.bounds) if state else None
        if goal is None or goal == said:
            self.unsettled.discard(node)
        else:
            self.unsettled.add(node)


class LimitCache:
    """The newest known of everything that belongs to limits."""

    def __init__(self) -> None:
        self.limits: defaultdict[str, LimitState] = defaultdict(LimitState)
        self.nodes: dict[str, NodeFacts] = {}
        self.pairs_of_pod: dict[str, set[Pair]] = {}
        """By pod: the Leases that it has entries in."""

    def goal(self, pair: Pair) -> Goal | None:
        """What the Lease of a limit on a node is to say; None if there is to be none."""
        state = self.limits.get(pair[0])
        return state.goals.get(pair[1]) if state else None

    def lease(self, pair: Pair) -> LeaseRecord | None:
        """The Lease of a limit on a node."""
        state = self.limits.get(pair[0])
        return state.leases.get(pair[1]) if state else None

    def set_limit(self, name: str, limit: Limit | None, *, uid: str = "", invalid: str = "") -> list[Pair]:
        """The NodeLimit of that name is this one, or is not understood, or is gone. Returns what it concerns."""
        state = self.limits[name]
        if limit == state.limit and invalid == state.invalid:
            self._tidy(name)
            return []
        state.limit, state.uid, state.invalid = limit, limit.uid if limit else uid, invalid
        for node in {*self.nodes, *state.goals}:
            facts = self.nodes.get(node)
            state.set_goal(node, goal_of(limit, facts) if limit and facts else None)
        concerned = [(name, node) for node in {*state.goals, *state.leases}]
        self._tidy(name)
        return concerned

    def set_node(self, name: str, node: NodeFacts | None) -> tuple[list[Pair], list[str]]:
        """The Node of that name is this one, or gone. Returns the Leases that it concerns, and the limits whose nodes are others now."""
        if node == self.nodes.get(name):
            return [], []
        if node is None:
            del self.nodes[name]
        else:
            self.nodes[name] = node
        changed = [
            limit
            for limit, state in self.limits.items()
            if state.set_goal(name, goal_of(state.limit, node) if state.limit and node else None)
        ]
        return [(limit, name) for limit, state in self.limits.items() if name in state.goals or name in state.leases], changed

    def set_lease(self, pair: Pair, record: LeaseRecord | None) -> bool:
        """The Lease of a limit on a node is this one, or gone. Returns whether the limit's numbers are others now."""
        limit, node = pair
        state = self.limits[limit]
        before, known = state.numbers, state.leases.get(node)
        state.set_lease(node, record)
        self._index(pair, known.pods if known else frozenset(), record.pods if record else frozenset())
        changed = state.numbers != before
        self._tidy(limit)
        return changed

    def _index(self, pair: Pair, before: frozenset[str], after: frozenset[str]) -> None:
        for pod in before - after:
            pairs = self.pairs_of_pod[pod]
            pairs.discard(pair)
            if not pairs:
                del self.pairs_of_pod[pod]
        for pod in after - before:
            self.pairs_of_pod.setdefault(pod, set()).add(pair)

    def _tidy(self, name: str) -> None:
        state = self.limits[name]
        if state.limit is None and not state.invalid and not state.leases:
            del self.limits[name]

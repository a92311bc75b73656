"""What to write to the Lease of a limit on a node. Pure: all that counts is in the arguments.

A Lease is never deleted while somebody holds a slot of it. When its NodeLimit is gone, or the node does not match it any more, it is made
inactive first, which drains it: holders give up their slots at their next turn, nobody is granted any, and whoever waits goes on waiting.
If it were deleted at once and soon made anew, the new one would not know who still uses the resource. One that somebody else deleted, as
Kubernetes does with a Node that is gone, is made anew only when nobody can use a slot of it any more (`vacancies`).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from imagejob_operator.limits import repair
from imagejob_operator.limits.facts import Goal, NodeFacts, Pair
from imagejob_operator.limits.records import LeaseRecord
from nodelease import transitions
from nodelease.codec import stamp
from nodelease.constants import MOST_GRANTS
from nodelease.kubernetes.names import lease_labels
from nodelease.kubernetes.objects import merged, new_lease, node_owner
from nodelease.state import Holder, LeaseState, Waiter


@dataclass(frozen=True, slots=True)
class Create:
    """Make the Lease."""

    lease: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Replace:
    """Write the Lease over the version that it was made from."""

    lease: dict[str, Any]
    reaped: tuple[str, ...] = ()
    """Pods that lose their entries."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the Lease, if it is still this one."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing now."""

    seconds: float
    """Time until there may be something to do."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a new Lease begins, or one whose holders cannot be told."""

    at: float
    """Not before that time (`nodelease.clock`): somebody may still use a slot of the Lease that was there before."""
    epoch: int
    """Its fences begin here."""


Action = Create | Replace | Delete | Wait


def plan(
    pair: Pair,
    goal: Goal | None,
    node: NodeFacts | None,
    record: LeaseRecord | None,
    gone: Collection[str],
    *,
    namespace: str,
    beginning: Beginning,
    now: float,
) -> Action | None:
    """What to do about the Lease of a limit on a node.

    Args:
        pair: The limit and the node.
        goal: What the Lease is to say; None: the node is not to have the limit.
        node: The node; None: it is gone.
        record: The Lease; None: there is none.
        gone: Ids of requests whose pods are gone or finished.
        namespace: Where Leases are.
        beginning: How a new Lease begins.
        now: The time (`nodelease.clock`).

    Returns:
        None if all is as it should be.
    """
    limit, name = pair
    if record is None:
        if goal is None or node is None:
            return None
        if now < beginning.at:
            return Wait(beginning.at - now)
        empty = transitions.begin(LeaseState(goal.slots, goal.duration_seconds, goal.active, bounds=goal.bounds), beginning.epoch)
        return Create(new_lease(limit, name, node_uid=node.uid, namespace=namespace, state=empty))
    if record.state is None:
        return _mend(record, goal, node, beginning.epoch, now)
    if goal is None:
        return _retire(record, node, gone, now)
    state = record.state
    if state.grants > MOST_GRANTS // 2:
        state = transitions.begin(state, beginning.epoch)
    return _write(record, _changed(state, goal, gone), node, gone, now)


def _changed(state: LeaseState, goal: Goal, gone: Collection[str]) -> LeaseState:
    """The limit's changes, and the dead away. A limit that shrinks does so first, or the slots of the dead would be granted before."""

    def resized(of: LeaseState) -> LeaseState:
        return transitions.resize(of, slots=goal.slots, active=goal.active, duration_seconds=goal.duration_seconds, bounds=goal.bounds)

    if (goal.slots if goal.active else 0) < state.capacity:
        return transitions.reap(resized(state), gone)
    return resized(transitions.reap(state, gone))


def _retire(record: LeaseRecord, node: NodeFacts | None, gone: Collection[str], now: float) -> Action | None:
    state = record.state
    if state is None:
        return None
    if node is None and record.owned_by_node:
        return _write(record, transitions.reap(state, gone), node, gone, now)  # the rest is for Kubernetes' garbage collector
    if not state.active and not state.holders:
        return Delete(record.name, record.uid)
    return _write(record, transitions.reap(transitions.resize(state, active=False), gone), node, gone, now)


def _mend(record: LeaseRecord, goal: Goal | None, node: NodeFacts | None, epoch: int, now: float) -> Action | None:
    if node is None and record.owned_by_node:
        return None
    state = repair.salvaged(record.lease, goal, epoch) if goal is not None else None
    if goal is not None and state is not None:
        granted = stamp(state, _changed(state, goal, ()), now)  # to those for whom there was no room as long as nobody could read it
        return Replace(_dressed(merged(record.lease, granted), record, node))
    left = record.seen_at + repair.patience_seconds(record.lease, goal) - now
    if left > 0:
        return Wait(left)
    if goal is None:
        return Delete(record.name, record.uid)
    return Replace(_dressed(merged(record.lease, repair.emptied(record.lease, goal, epoch)), record, node))


def _write(record: LeaseRecord, state: LeaseState, node: NodeFacts | None, gone: Collection[str], now: float) -> Replace | None:
    before = record.state
    if before is None or (state is before and record.labelled and _owned(record, node)):
        return None
    entries: tuple[Holder | Waiter, ...] = (*before.holders, *before.queue)
    reaped = [entry.pod for entry in entries if entry.id in gone]
    return Replace(_dressed(merged(record.lease, stamp(before, state, now)), record, node), tuple(reaped))


def _owned(record: LeaseRecord, node: NodeFacts | None) -> bool:
    owners = record.lease["metadata"].get("ownerReferences") or ()
    return node is None or any(owner.get("uid") == node.uid for owner in owners)


def _dressed(lease: dict[str, Any], record: LeaseRecord, node: NodeFacts | None) -> dict[str, Any]:
    """The Lease with the labels and the owner that it should have. A Node that was made anew has another uid."""
    limit, name = record.pair
    metadata = dict(lease["metadata"])
    metadata["labels"] = {**record.labels, **lease_labels(limit, name)}
    if node is not None and not _owned(record, node):
        metadata["ownerReferences"] = [node_owner(name, node.uid)]
    return {**lease, "metadata": metadata}

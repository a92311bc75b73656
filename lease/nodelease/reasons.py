"""Why a claim waits, in words for people."""

from collections.abc import Collection

from nodelease.claim import Claim
from nodelease.constants import MOST_GRANTS
from nodelease.state import LeaseState


def turn(limit: str, state: LeaseState | None, ids: Collection[str]) -> str:
    """It waits for its turn.

    Args:
        limit: Name of the limit.
        state: What is known of it.
        ids: Of the process's requests like this one.
    """
    queue = state.queue if state is not None else ()
    place = next((place for place, waiter in enumerate(queue, 1) if waiter.id in ids), None)
    return f"limit {limit!r} is in use" + (f"; place {place} of {len(queue)} in its queue" if place else "")


def obstacle(limit: str, state: LeaseState | None, problem: str, claim: Claim, *, full: bool) -> str | None:
    """What keeps it waiting besides its turn; None if nothing does.

    Args:
        limit: Name of the limit.
        state: What is known of it.
        problem: What is wrong with it, or with the store.
        claim: Which.
        full: Whether there is no room for it in the queue.
    """
    if state is None or problem:
        return problem or f"the store has not answered yet about limit {limit!r}"
    if not state.active:
        return f"limit {limit!r} is not active"
    if state.grants >= MOST_GRANTS:
        return f"limit {limit!r} has made all the grants that its Lease can count; the operator begins a new count as soon as it runs"
    if claim.slots > state.slots:
        return f"limit {limit!r} has {state.slots} slots and {claim.slots} are asked for"
    if full:
        return (
            f"the queue of limit {limit!r} is full: its Lease has room for the {len(state.queue)} requests that wait and no more; "
            "this one queues when others have had their turn"
        )
    return None

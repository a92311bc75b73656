"""The pure transitions of a Lease: the only ways in which it may change.

Each takes a state and returns the next one, or *the same object* when nothing changes, which callers take as "write nothing". All are
idempotent: a caller whose write may or may not have been done reads again and applies the same transition again.

Every transition that frees a slot, or makes one grantable, grants in the same step. So between any two writes no slot is free that
somebody could have.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from nodelease.bounds import Bounds
from nodelease.constants import MOST_GRANTS
from nodelease.identity import process
from nodelease.room import longest, room
from nodelease.state import Holder, LeaseState, Waiter


def request(state: LeaseState, *waiters: Waiter) -> LeaseState:
    """Ask for slots: granted at once if they are free and nobody waits before, else queued. Asking twice changes nothing.

    Args:
        state: The Lease.
        waiters: The requests, all of one priority, in the order in which they will stand in the queue.
    """
    known = state.ids
    new = [waiter for waiter in waiters if waiter.id not in known]
    return _grant(_enqueue(state, new)) if new else state


def release(state: LeaseState, request_id: str) -> LeaseState:
    """Leave as a holder, and hand the slots to those who wait."""
    if state.holder(request_id) is None:
        return state
    return _grant(_without(state, {request_id}))


def yield_(state: LeaseState, request_id: str, fence: int, priority: int, waiters: Sequence[Waiter] = ()) -> LeaseState:
    """Release and request in one step.

    Changes nothing when nobody waits who would go first: then a write would only give the same slot back. A holder of a shrunk or
    inactive limit gives way even if nobody waits, for that is how the limit drains.

    Args:
        state: The Lease.
        request_id: The holder that gives up its slots.
        fence: The grant to give up. With another one, or without a holder, the yield was done already.
        priority: Of the holder. It gives way to nobody of a lower one.
        waiters: The requests with which it goes on, all of that priority.
    """
    holder = state.holder(request_id)
    if holder is None or holder.fence != fence or not state.gives_way(holder, priority):
        return state
    return _grant(_enqueue(_without(state, {request_id}), waiters))


def withdraw(state: LeaseState, request_id: str) -> LeaseState:
    """Leave the queue, or give back a grant that came too late."""
    return reap(state, {request_id})


def renew(state: LeaseState, request_id: str, fence: int) -> LeaseState:
    """Show that the holder of this grant lives."""
    if not any(holder.id == request_id and holder.fence == fence for holder in state.holders):
        return state
    holders = tuple(replace(holder, beat=holder.beat + 1) if holder.id == request_id else holder for holder in state.holders)
    return replace(state, holders=holders)


def reap(state: LeaseState, request_ids: Collection[str]) -> LeaseState:
    """Remove holders and waiters that are gone, and hand their slots on."""
    return _grant(_without(state, request_ids))


def expire(state: LeaseState, request_id: str, fence: int, beat: int) -> LeaseState:
    """Remove a holder that was seen with this fence and beat for a whole lease duration, unless it has moved since.

    With one that has never renewed goes all that its process waits for: each grant of it would cost the others the same time once more. If
    the process lives, it asks again.
    """
    holder = state.holder(request_id)
    if holder is None or (holder.fence, holder.beat) != (fence, beat):
        return state
    dead = {request_id}
    if beat == 0:
        dead |= {waiter.id for waiter in state.queue if process(waiter.id) == process(request_id)}
    return _grant(_without(state, dead))


def resize(
    state: LeaseState,
    *,
    slots: int | None = None,
    active: bool | None = None,
    duration_seconds: int | None = None,
    bounds: Bounds | None = None,
) -> LeaseState:
    """Change the limit itself. Growing grants at once; shrinking takes nothing away, and grants nothing until enough have left.

    Narrower bounds hold at once, also for those who wait already; wider ones for requests that come from now on.
    """
    changed = replace(
        state,
        slots=state.slots if slots is None else slots,
        active=state.active if active is None else active,
        duration_seconds=state.duration_seconds if duration_seconds is None else duration_seconds,
        bounds=state.bounds if bounds is None else bounds,
    )
    # Cut from above, whoever stood further ahead still does.
    changed = replace(changed, queue=tuple(_bounded(changed, waiter) for waiter in changed.queue))
    return _grant(state if changed == state else changed)


def begin(state: LeaseState, epoch: int) -> LeaseState:
    """Begin to count grants anew, while fences go on: for a Lease that is made, or whose grants can hardly be counted any more.

    Args:
        state: The Lease, new or not.
        epoch: Microseconds since 1970. The Lease that was here before began with a smaller number, and since then has made fewer grants
            than microseconds have passed; so all its fences are smaller, too, and nobody has to remember them.
    """
    epoch = max(epoch, state.transitions)
    return _grant(replace(state, epoch=epoch, transitions=epoch))


def counted(before: LeaseState, after: LeaseState) -> LeaseState:
    """What several transitions lead to, as one write: a grant that has ended within it takes no fence, for nobody has seen it.

    So no write adds more to the fence than it leaves new holders. Returns `before` itself if nothing is left of what they did.
    """
    new = [holder for holder in after.holders if holder.fence > before.transitions]
    if after.transitions - before.transitions == len(new):
        return after
    numbers = {holder.fence: number for number, holder in enumerate(new, before.transitions + 1)}
    holders = tuple(replace(holder, fence=numbers.get(holder.fence, holder.fence)) for holder in after.holders)
    fewer = replace(after, holders=holders, transitions=before.transitions + len(new))
    return before if fewer == before else fewer


def _bounded(state: LeaseState, waiter: Waiter) -> Waiter:
    priority = state.bounds.priority(waiter.priority)
    return waiter if priority == waiter.priority else replace(waiter, priority=priority)


def _enqueue(state: LeaseState, waiters: Sequence[Waiter]) -> LeaseState:
    if not waiters:
        return state
    waiters = [_bounded(state, waiter) for waiter in waiters]
    before = [other for other in state.queue if other.priority >= waiters[0].priority]
    after = [other for other in state.queue if other.priority < waiters[0].priority]
    return replace(state, queue=(*before, *waiters, *after))


def _without(state: LeaseState, request_ids: Collection[str]) -> LeaseState:
    holders = tuple(holder for holder in state.holders if holder.id not in request_ids)
    queue = tuple(waiter for waiter in state.queue if waiter.id not in request_ids)
    if len(holders) == len(state.holders) and len(queue) == len(state.queue):
        return state
    return replace(state, holders=holders, queue=queue)


def _grant(state: LeaseState) -> LeaseState:
    """Grant to the head of the queue as long as its slots are free, all of them at once.

    A head that does not fit yet holds up those behind it, or a stream of small requests would starve a large one.
    A grant that could not be counted is not made: then those who leave are still free to, and a new epoch grants to those who wait.
    Nor is one for which the Lease has no room, as where the limit grew over a long queue: no pod could write it any more, or leave.
    """
    left = 0
    while (head := next(filter(state.grantable, state.queue), None)) is not None and state.grants < MOST_GRANTS:
        free = state.free
        if head.slots > len(free):
            break
        needed = head.slots * longest(head)
        if left < needed:
            left = room(state)  # slow with a long queue, so not at each grant
        if left < needed:
            break
        left -= needed
        fence = state.transitions + 1
        holder = Holder(id=head.id, pod=head.pod, fence=fence, beat=0, slots=free[: head.slots])
        queue = tuple(waiter for waiter in state.queue if waiter is not head)
        state = replace(state, holders=(*state.holders, holder), queue=queue, transitions=fence)
    return state

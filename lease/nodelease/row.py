"""The requests of one process for one limit that are alike, as they stand in the queue: one entry, however many they are.

They are interchangeable, so they stand in a row: each grant goes to the claim that came first, and who leaves makes the row shorter at its
end. Their ids are numbers that follow each other, which the Lease writes as one entry with a count (`runs`).

A claim that comes later joins the entry only while nobody stands behind it, or it would overtake them. Else it waits here until the entry
is used up, and then queues with all that have come by then. So a process has one entry, and no place that it has not waited for.
"""

from collections.abc import Iterator
from itertools import islice

from nodelease import transitions
from nodelease.claim import Claim
from nodelease.codec import fits
from nodelease.state import Holder, LeaseState, Waiter


class Row:
    """See above.

    Args:
        stem: What the ids begin with; numbers follow.
        pod: Who asks.
        priority: Of each request.
        slots: Of each request.
    """

    def __init__(self, stem: str, pod: str, priority: int, slots: int) -> None:
        self.full = False
        """Whether some cannot be added to the queue now, because a Lease has no room for more."""
        self._stem = stem
        self._pod = pod
        self._priority = priority
        self._slots = slots
        self._claims: list[Claim] = []
        self._numbers: list[int] = []
        """One for each claim, ascending. They belong to the row, not to single claims."""
        self._asked = 0
        """How many of them, the first ones, may stand in the Lease."""
        self._next = 1

    def __len__(self) -> int:
        return len(self._claims)

    def __contains__(self, claim: Claim) -> bool:
        return claim in self._claims

    def add(self, claim: Claim) -> None:
        """A claim wants a slot."""
        self._claims.append(claim)
        self._numbers.append(self._next)
        self._next += 1

    def remove(self, claim: Claim) -> str | None:
        """A claim has left. Returns the id to be withdrawn, if one is too many in the Lease now."""
        place = self._claims.index(claim)
        del self._claims[place]
        if place < self._asked:
            self._asked -= 1
            return self._id(self._numbers.pop(self._asked))
        if self._numbers.pop() == self._next - 1:
            self._next -= 1  # nobody has seen it: those that come follow without a gap
        return None

    def clear(self) -> None:
        """Nobody wants anything any more."""
        self._claims.clear()
        self._numbers.clear()
        self._asked = 0

    def ids(self) -> Iterator[str]:
        """Of all requests that may stand in the Lease."""
        return map(self._id, self._numbers[: self._asked])

    def join(self, state: LeaseState) -> LeaseState:
        """Request what is not there yet, as far as it may queue now and there is room. What is granted at once is taken up at once.

        May be applied again to any newer state.
        """
        return self._requested(state, self._ask(state))

    def give_way(self, state: LeaseState, claim: Claim, request_id: str, fence: int) -> LeaseState:
        """Yield a holding, and go on waiting as `claim` in the same write. If nobody goes first, the holding is kept."""
        holder = state.holder(request_id)
        held = holder is not None and holder.fence == fence
        if holder is not None and held and not state.gives_way(holder, self._priority):
            surplus = self.remove(claim) if claim in self._claims else None  # an attempt that was refused had added it
            return state if surplus is None else transitions.withdraw(state, surplus)
        if claim not in self._claims:
            self.add(claim)
        if held:
            state = transitions.yield_(state, request_id, fence, self._priority, self._ask(state))
        return self.join(state)

    def waits(self, state: LeaseState) -> bool:
        """Whether some may be added to this state's queue that are not there."""
        return bool(self._wanted(state))

    def granted(self, state: LeaseState) -> list[tuple[Claim, Holder]]:
        """Take those out of the row who hold slots in this state."""
        ids = {self._id(number): number for number in self._numbers[: self._asked]}
        grants = []
        for holder in state.holders:
            if holder.id in ids:
                self._numbers.remove(ids[holder.id])
                self._asked -= 1
                grants.append((self._claims.pop(0), holder))
        return grants

    def note_queued(self, state: LeaseState) -> None:
        """Remember of the claims that they were seen in the queue."""
        if self._asked and any(not claim.queued for claim in islice(self._claims, self._asked)):
            for claim, _ in zip(self._claims, self._standing(state), strict=False):
                claim.queued = True

    def _id(self, number: int) -> str:
        return f"{self._stem}{number}"

    def _waiter(self, number: int) -> Waiter:
        return Waiter(self._id(number), self._pod, self._priority, self._slots)

    def _requested(self, state: LeaseState, waiters: list[Waiter]) -> LeaseState:
        ids = {waiter.id for waiter in waiters}
        after = transitions.request(state, *waiters)
        for holder in after.holders if after is not state else ():
            if holder.id in ids:
                after = transitions.renew(after, holder.id, holder.fence)
        return after

    def _ask(self, state: LeaseState) -> list[Waiter]:
        numbers = self._wanted(state)
        if numbers:
            self._asked = max(self._asked, self._numbers.index(numbers[-1]) + 1)
        return [self._waiter(number) for number in numbers]

    def _standing(self, state: LeaseState) -> list[int]:
        """Numbers that stand in the queue."""
        if not self._asked:
            return []
        queued = {waiter.id for waiter in state.queue}
        return [number for number in self._numbers[: self._asked] if self._id(number) in queued]

    def _wanted(self, state: LeaseState) -> list[int]:
        """Numbers to be requested of this state: those that it has lost, and those that may join."""
        standing = self._standing(state)
        held = {holder.id for holder in state.holders}
        there = {*standing, *(number for number in self._numbers[: self._asked] if self._id(number) in held)}
        lost = [number for number in self._numbers[: self._asked] if number not in there]
        new = self._numbers[self._asked :]
        if new and not self._may_join(state, standing, lost, new[0]):
            new = []
        return self._room_for(state, lost + new)

    def _may_join(self, state: LeaseState, standing: list[int], lost: list[int], first: int) -> bool:
        if not standing and not lost:
            return True
        if standing and lost:
            return False
        if lost:
            return first == lost[-1] + 1
        own = next(waiter for waiter in state.queue if waiter.id == self._id(standing[-1]))
        if own.priority != state.bounds.priority(self._priority):  # the limit's bounds have changed: a new one would not stand behind it
            return False
        last = next(waiter for waiter in reversed(state.queue) if waiter.priority >= own.priority)
        return first == standing[-1] + 1 and last.id == own.id

    def _room_for(self, state: LeaseState, numbers: list[int]) -> list[int]:
        """As many of them as a Lease has room for."""
        fitting, refused = 0, len(numbers) + 1
        attempt = len(numbers)
        while attempt > fitting:
            if fits(transitions.request(state, *map(self._waiter, numbers[:attempt]))):
                fitting = attempt
            else:
                refused = attempt
            attempt = (fitting + refused) // 2
        self.full = fitting < len(numbers)
        return numbers[:fitting]

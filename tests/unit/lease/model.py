# ruff: noqa: S311  simulations want randomness that a seed repeats
"""What must hold of the pure transitions, as a hypothesis state machine over any module that claims to be them.

The module is an argument so that `test_mutations` can show that each guard in it is needed.
"""

import random
from collections.abc import Callable
from types import ModuleType

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nodelease.state import LeaseState, Waiter

PODS = [f"pod-{number}" for number in range(6)]
pods = st.sampled_from(PODS)
wants = st.sampled_from([1, 1, 1, 2, 3])
priorities = st.sampled_from([0, 0, 0, 1, 5])


class Counter:
    """Transitions applied in this process."""

    transitions = 0


class Oracle:
    """The contract said again in the plainest way, without the module under test: what each step must lead to."""

    def __init__(self, state: LeaseState) -> None:
        self.slots, self.active = state.slots, state.active
        self.held: dict[str, tuple[int, ...]] = {}
        self.fences: dict[str, int] = {}
        self.queue: list[tuple[int, int, str, int]] = []
        self.arrivals = 0
        self.grants = 0

    def enqueue(self, waiter: Waiter) -> None:
        self.arrivals += 1
        self.queue.append((-waiter.priority, self.arrivals, waiter.id, waiter.slots))
        self.queue.sort()

    def remove(self, request: str) -> None:
        self.held.pop(request, None)
        self.fences.pop(request, None)
        self.queue = [entry for entry in self.queue if entry[2] != request]

    def grant(self) -> None:
        for entry in tuple(self.queue):
            _, _, request, count = entry
            if count > self.slots:
                continue
            used = {slot for slots in self.held.values() for slot in slots}
            room = (self.slots if self.active else 0) - len(used)
            if room < count:
                return
            self.queue.remove(entry)
            self.grants += 1
            self.held[request] = tuple(slot for slot in range(self.slots) if slot not in used)[:count]
            self.fences[request] = self.grants

    def drains(self, request: str) -> bool:
        capacity = self.slots if self.active else 0
        return sum(map(len, self.held.values())) > capacity and max(self.held[request]) >= capacity

    def waits_before(self, priority: int) -> bool:
        return any(-rank >= priority and count <= self.slots for rank, _, _, count in self.queue)


class Lease:
    """A Lease under test beside its oracle. Every method is one transition, checked at once and applied twice."""

    def __init__(self, transitions: ModuleType, slots: int) -> None:
        self.t = transitions
        self.state: LeaseState = transitions.LeaseState(slots=slots)
        self.oracle = Oracle(self.state)
        self.waiters: dict[str, Waiter] = {}
        self.number = 0

    def apply(self, step: Callable[[LeaseState], LeaseState], *, changes: bool) -> None:
        """Apply a transition, which the oracle has been told of, and compare."""
        before = self.state
        self.state = step(before)
        Counter.transitions += 1
        self.oracle.grant()
        self.check(before)
        assert (self.state is not before) == changes, "the same object if and only if nothing changes"
        assert step(self.state) is self.state, "a second time changes nothing"

    def check(self, before: LeaseState) -> None:
        state = self.state
        ids = [holder.id for holder in state.holders] + [waiter.id for waiter in state.queue]
        assert len(set(ids)) == len(ids), "every id is held or queued at most once"
        slots = [slot for holder in state.holders for slot in holder.slots]
        assert len(set(slots)) == len(slots), "a slot has one holder"
        known = {(holder.id, holder.fence) for holder in before.holders}
        new = [holder for holder in state.holders if (holder.id, holder.fence) not in known]
        assert not new or len(slots) <= state.capacity, "nothing is granted beyond the slots there are"
        assert all(slot < state.slots for holder in new for slot in holder.slots)
        assert [holder.fence for holder in new] == list(range(before.transitions + 1, state.transitions + 1)), (
            "each grant has its own fence"
        )
        assert {holder.id: holder.slots for holder in state.holders} == self.oracle.held
        assert {holder.id: holder.fence for holder in state.holders} == self.oracle.fences
        assert [waiter.id for waiter in state.queue] == [entry[2] for entry in self.oracle.queue], "first come, first served"
        others = self.oracle.active and any(entry[3] <= self.oracle.slots for entry in self.oracle.queue)
        for holder in state.holders:
            assert state.contended(holder.id) == (others or self.oracle.drains(holder.id)), "a holder knows whether it is in the way"
        assert not state.contended("nobody"), "who holds nothing is in nobody's way"
        head = next((waiter for waiter in state.queue if waiter.slots <= state.slots), None)
        assert head is None or len(state.free) < head.slots, "no slot is free that the first in the queue could have"

    # One method for each transition.

    def request(self, pod: str, priority: int, slots: int) -> None:
        self.number += 1
        waiter = Waiter(f"{pod}-{self.number}", pod, priority, slots)
        self.waiters[waiter.id] = waiter
        self.oracle.enqueue(waiter)
        self.apply(lambda state: self.t.request(state, waiter), changes=True)

    def request_several(self, pod: str, priority: int, slots: int, count: int) -> None:
        """Some in one step, of which one may be there already."""
        waiters = [Waiter(f"{pod}-{self.number + step}", pod, priority, slots) for step in range(1, count + 1)]
        self.number += count
        self.waiters |= {waiter.id: waiter for waiter in waiters}
        known = next((waiter for waiter in self.state.queue if waiter.priority == priority), None)
        for waiter in waiters:
            self.oracle.enqueue(waiter)
        self.apply(lambda state: self.t.request(state, *([known] if known else []), *waiters), changes=True)

    def request_again(self, request: str) -> None:
        gone = request not in self.state.ids
        if gone:
            self.oracle.enqueue(self.waiters[request])
        self.apply(lambda state: self.t.request(state, self.waiters[request]), changes=gone)

    def release(self, request: str) -> None:
        held = request in self.oracle.held
        if held:
            self.oracle.remove(request)
        self.apply(lambda state: self.t.release(state, request), changes=held)

    def yield_(self, request: str, fence: int) -> None:
        waiter = self.waiters[request]
        current = self.oracle.fences.get(request)
        queued = any(entry[2] == request for entry in self.oracle.queue)
        if current is None and not queued:
            self.oracle.enqueue(waiter)
            changes = True
        elif current is not None and current == fence and (self.oracle.waits_before(waiter.priority) or self.oracle.drains(request)):
            self.oracle.remove(request)
            self.oracle.enqueue(waiter)
            changes = True
        else:
            changes = False
        self.apply(lambda state: self.t.request(self.t.yield_(state, request, fence, waiter.priority, (waiter,)), waiter), changes=changes)

    def withdraw(self, request: str) -> None:
        there = request in self.state.ids
        self.oracle.remove(request)
        self.apply(lambda state: self.t.withdraw(state, request), changes=there)

    def reap(self, requests: set[str]) -> None:
        there = bool(requests & self.state.ids)
        for request in requests:
            self.oracle.remove(request)
        self.apply(lambda state: self.t.reap(state, requests), changes=there)

    def renew(self, request: str, fence: int) -> None:
        before = self.state
        self.state = self.t.renew(before, request, fence)
        Counter.transitions += 1
        self.check(before)
        lives = self.oracle.fences.get(request) == fence
        assert (self.state is not before) == lives
        for holder in self.state.holders:
            old = before.holder(holder.id)
            assert old is not None
            assert holder.beat == old.beat + (lives and holder.id == request), "only its own beat moves"

    def expire(self, request: str, fence: int, beat: int) -> None:
        holder = self.state.holder(request)
        dead = holder is not None and (holder.fence, holder.beat) == (fence, beat)
        if dead:
            self.oracle.remove(request)
        if dead and beat == 0:
            for waiting in [entry[2] for entry in self.oracle.queue]:
                if self.waiters[waiting].pod == self.waiters[request].pod:
                    self.oracle.remove(waiting)
        self.apply(lambda state: self.t.expire(state, request, fence, beat), changes=dead)

    def resize(self, slots: int | None, active: bool | None, duration: int | None = None) -> None:  # noqa: FBT001  drawn by strategies
        before = self.state
        holders = {holder.id for holder in before.holders}
        self.oracle.slots = before.slots if slots is None else slots
        self.oracle.active = before.active if active is None else active
        goal = (self.oracle.slots, self.oracle.active, before.duration_seconds if duration is None else duration)
        changes = goal != (before.slots, before.active, before.duration_seconds)
        self.apply(lambda state: self.t.resize(state, slots=slots, active=active, duration_seconds=duration), changes=changes)
        assert (self.state.slots, self.state.active, self.state.duration_seconds) == goal
        assert holders <= {holder.id for holder in self.state.holders}, "a change of size takes nothing away"

    # What parties do.

    def random_id(self, rng: random.Random) -> str | None:
        """An id that is there, or one of those that were."""
        there = sorted(self.state.ids)
        if there and rng.random() < 0.85:
            return rng.choice(there)
        return f"{rng.choice(PODS)}-{rng.randint(1, self.number)}" if self.number else None

    def random_step(self, rng: random.Random) -> None:
        """One step of some party, a wrong or late one now and then."""
        request = self.random_id(rng)
        kind = rng.random()
        if request not in self.waiters or kind < 0.3:
            kinds = rng.choice(PODS), rng.choice([0, 0, 0, 1, 5]), rng.choice([1, 1, 1, 2, 3])
            if kind < 0.03:
                self.request_several(*kinds, count=rng.randint(2, 4))
            else:
                self.request(*kinds)
            return
        holder = self.state.holder(request)
        fence = holder.fence if holder is not None and rng.random() < 0.9 else rng.randint(0, self.state.transitions)
        beat = holder.beat if holder is not None and rng.random() < 0.7 else 0
        if kind < 0.45:
            self.release(request)
        elif kind < 0.65:
            self.yield_(request, fence)
        elif kind < 0.7:
            self.withdraw(request)
        elif kind < 0.75:
            self.request_again(request)
        elif kind < 0.82:
            self.renew(request, fence)
        elif kind < 0.88:
            self.expire(request, fence, beat)
        elif kind < 0.93:
            self.crash(rng.choice(PODS))
        else:
            self.resize(rng.choice([None, 0, 1, 2, 3, 4]), rng.choice([None, None, True, True, False]), rng.choice([None, 10, 30]))

    def crash(self, pod: str) -> None:
        """A party dies at this point: the reaper removes all that it had and wanted."""
        self.reap({request for request in self.state.ids if self.waiters[request].pod == pod})


def machine(transitions: ModuleType, *, storm: int) -> type[RuleBasedStateMachine]:  # noqa: C901  one small rule for each thing done
    """A state machine over a module of transitions; each of its storms takes `storm` random steps."""

    class LeaseMachine(RuleBasedStateMachine):
        lease: Lease

        @initialize(slots=st.integers(0, 4))
        def begin(self, slots: int) -> None:
            self.lease = Lease(transitions, slots)

        @rule(pod=pods, priority=priorities, slots=wants)
        def request(self, pod: str, priority: int, slots: int) -> None:
            self.lease.request(pod, priority, slots)

        @rule(pod=pods, priority=priorities, slots=wants, count=st.integers(2, 4))
        def request_several(self, pod: str, priority: int, slots: int, count: int) -> None:
            self.lease.request_several(pod, priority, slots, count)

        @precondition(lambda self: self.lease.state.ids)
        @rule(data=st.data(), step=st.sampled_from(["release", "withdraw", "request_again"]))
        def one(self, data: st.DataObject, step: str) -> None:
            getattr(self.lease, step)(data.draw(st.sampled_from(sorted(self.lease.state.ids))))

        @precondition(lambda self: self.lease.state.holders)
        @rule(data=st.data(), late=st.booleans())
        def yield_(self, data: st.DataObject, late: bool) -> None:  # noqa: FBT001  drawn by a strategy
            holder = data.draw(st.sampled_from(self.lease.state.holders))
            self.lease.yield_(holder.id, holder.fence - late)

        @precondition(lambda self: self.lease.state.holders)
        @rule(data=st.data(), late=st.booleans())
        def renew(self, data: st.DataObject, late: bool) -> None:  # noqa: FBT001  drawn by a strategy
            holder = data.draw(st.sampled_from(self.lease.state.holders))
            self.lease.renew(holder.id, holder.fence - late)

        @precondition(lambda self: self.lease.state.holders)
        @rule(data=st.data(), fences=st.integers(0, 1), beats=st.integers(0, 1))
        def expire(self, data: st.DataObject, fences: int, beats: int) -> None:
            holder = data.draw(st.sampled_from(self.lease.state.holders))
            self.lease.expire(holder.id, holder.fence - fences, holder.beat - beats)

        @rule(pod=pods)
        def crash(self, pod: str) -> None:
            self.lease.crash(pod)

        @rule(slots=st.none() | st.integers(0, 4), active=st.sampled_from([None, True, True, False]))
        def resize(self, slots: int | None, active: bool | None) -> None:  # noqa: FBT001  drawn by strategies
            self.lease.resize(slots, active)

        @rule(seed=st.integers(0, 1 << 32))
        def storm(self, seed: int) -> None:
            rng = random.Random(seed)
            for _ in range(storm):
                self.lease.random_step(rng)
            if len(self.lease.state.ids) > 30:  # keep it small enough to be quick
                self.lease.crash(rng.choice(PODS))

        @invariant()
        def nothing_is_lost(self) -> None:
            if hasattr(self, "lease"):
                assert self.lease.state.ids == set(self.lease.oracle.held) | {entry[2] for entry in self.lease.oracle.queue}

        def teardown(self) -> None:
            """Whoever holds dies, one after another: those who wait have the slots in the end."""
            if not hasattr(self, "lease"):
                return
            self.lease.resize(2, active=True)
            while self.lease.state.ids:
                waiting = [waiter for waiter in self.lease.state.queue if waiter.slots <= 2]
                assert self.lease.state.holders or not waiting
                victims = self.lease.state.holders or self.lease.state.queue
                self.lease.crash(self.lease.waiters[victims[0].id].pod)

    return LeaseMachine

"""The cases that explain the contract, one by one; `test_properties` shows that there are no others."""

from dataclasses import replace

from nodelease import transitions as t
from nodelease.bounds import Bounds
from nodelease.claim import Claim
from nodelease.constants import MOST_GRANTS
from nodelease.row import Row
from nodelease.state import LeaseState, Waiter


def lease(slots: int, *waiters: Waiter) -> LeaseState:
    state = LeaseState(slots=slots)
    for waiter in waiters:
        state = t.request(state, waiter)
    return state


def held(state: LeaseState) -> dict[str, tuple[int, ...]]:
    return {holder.id: holder.slots for holder in state.holders}


def yielded(state: LeaseState, waiter: Waiter, fence: int) -> LeaseState:
    return t.yield_(state, waiter.id, fence, waiter.priority, [waiter])


A, B, C = Waiter("a", "pod-a"), Waiter("b", "pod-b"), Waiter("c", "pod-c")
URGENT = Waiter("u", "pod-u", priority=1)
LARGE = Waiter("l", "pod-l", slots=2)


def test_a_release_grants_in_the_same_write() -> None:
    state = t.release(lease(1, A, B), "a")
    assert held(state) == {"b": (0,)}
    assert state.holders[0].fence == 2


def test_a_yield_is_one_write_and_a_new_fence() -> None:
    state = yielded(lease(1, A, B), A, 1)
    assert held(state) == {"b": (0,)}
    assert state.queue == (A,)


def test_a_yield_with_nobody_waiting_is_no_write() -> None:
    state = lease(1, A)
    assert yielded(state, A, 1) is state


def test_a_yield_does_not_give_way_to_lower_priority_but_is_contended() -> None:
    state = lease(1, URGENT, A)
    assert yielded(state, URGENT, 1) is state
    assert state.contended("u")


def test_higher_priority_goes_first() -> None:
    state = t.release(lease(1, A, B, URGENT), "a")
    assert held(state) == {"u": (0,)}


def test_nobody_goes_before_others_by_more_than_the_limit_allows() -> None:
    state = t.resize(lease(1, A, B, URGENT), bounds=Bounds(max_priority=0))
    assert [(waiter.id, waiter.priority) for waiter in state.queue] == [("u", 0), ("b", 0)], "who stood ahead stays there"
    state = t.request(state, Waiter("v", "pod-v", priority=99))
    assert [waiter.id for waiter in state.queue] == ["u", "b", "v"]
    state = yielded(t.request(t.resize(LeaseState(1), bounds=Bounds(max_priority=0)), URGENT), URGENT, 1)
    assert held(state) == {"u": (0,)}
    state = yielded(t.request(state, A), URGENT, 1)
    assert held(state) == {"a": (0,)}, "its own priority is no reason to stay, either"


def test_a_row_goes_on_when_the_highest_priority_changes() -> None:
    row = Row("r-", "pod-r", 50, 1)
    state = t.resize(lease(1, A), bounds=Bounds(max_priority=10))
    for highest, queue in ((10, ["r-1"]), (10, ["r-1", "r-2"]), (99, ["r-1", "r-2"]), (5, ["r-1", "r-2", "r-3", "r-4"])):
        state = t.resize(state, bounds=Bounds(max_priority=highest))
        row.add(Claim(50, 1, asked_at=0.0))
        state = row.join(state)
        assert [waiter.id for waiter in state.queue] == queue, "what would stand before its own waits until these have had their turn"


def test_several_slots_are_granted_at_once_and_hold_up_the_rest() -> None:
    state = t.release(lease(2, A, B, LARGE, C), "a")
    assert held(state) == {"b": (1,)}, "c would fit, but the large request is first"
    assert held(t.release(state, "b")) == {"l": (0, 1)}


def test_a_request_larger_than_the_limit_is_passed_over_until_it_fits() -> None:
    state = lease(1, LARGE, A)
    assert held(state) == {"a": (0,)}
    assert not state.contended("a"), "nobody who could be granted waits"
    state = t.release(t.resize(state, slots=2), "a")
    assert held(state) == {"l": (0, 1)}


def test_a_shrunk_limit_drains() -> None:
    state = t.resize(lease(3, A, B, C, URGENT), slots=1)
    assert held(state) == {"a": (0,), "b": (1,), "c": (2,)}
    state = t.release(state, "a")
    assert held(state) == {"b": (1,), "c": (2,)}, "two still use the resource"
    assert state.contended("c")
    state = yielded(t.release(state, "b"), C, 3)
    assert held(state) == {"u": (0,)}
    assert state.queue == (C,)


def test_a_drained_holder_yields_even_with_nobody_waiting() -> None:
    state = t.resize(lease(2, A, B), slots=1)
    assert not state.contended("a")
    assert state.contended("b")
    assert held(yielded(state, B, 2)) == {"a": (0,)}


def test_an_inactive_limit_grants_nothing_and_drains() -> None:
    state = t.resize(lease(1, A), active=False)
    assert held(t.request(state, B)) == {"a": (0,)}
    state = yielded(state, A, 1)
    assert held(state) == {}
    assert held(t.resize(state, active=True)) == {"a": (0,)}


def test_a_growing_limit_grants_at_once() -> None:
    assert held(t.resize(lease(1, A, B), slots=2)) == {"a": (0,), "b": (1,)}


def test_expiry_spares_a_holder_that_has_renewed() -> None:
    state = lease(1, A, B)
    renewed = t.renew(state, "a", 1)
    assert t.expire(renewed, "a", 1, 0) is renewed
    assert held(t.expire(renewed, "a", 1, 1)) == {"b": (0,)}


def test_with_a_grant_that_was_never_taken_up_goes_what_its_process_waits_for() -> None:
    state = lease(1, *(Waiter(f"dead-{number}", "pod-d") for number in ("1.1", "1.2", "2.1")), B, Waiter("deadly-1.1", "pod-d"))
    after = t.expire(state, "dead-1.1", 1, 0)
    assert held(after) == {"b": (0,)}
    assert [waiter.id for waiter in after.queue] == ["deadly-1.1"]
    renewed = t.expire(t.renew(state, "dead-1.1", 1), "dead-1.1", 1, 1)
    assert held(renewed) == {"dead-1.2": (0,)}, "it was there, and may be slow"


def test_a_write_counts_only_the_grants_that_it_leaves() -> None:
    before = lease(1, A, B, C)
    after = t.withdraw(t.release(before, "a"), "b")
    assert (after.transitions, after.holders[0].fence) == (3, 3)
    counted = t.counted(before, after)
    assert held(counted) == {"c": (0,)}
    assert (counted.transitions, counted.holders[0].fence) == (2, 2)
    assert t.counted(before, t.release(before, "a")) == t.release(before, "a")
    empty = LeaseState(slots=1)
    assert t.counted(empty, t.release(lease(1, A), "a")) is empty, "nothing is left of it"


def test_a_grant_that_cannot_be_counted_waits_for_a_new_epoch_and_holds_up_nobody_who_leaves() -> None:
    full = replace(lease(1, A, B), epoch=7, transitions=7 + MOST_GRANTS)
    left = t.release(full, "a")
    assert held(left) == {}
    assert left.queue == (B,)
    assert t.withdraw(left, "b").queue == ()
    begun = t.begin(left, 10**9)
    assert held(begun) == {"b": (0,)}
    assert begun.holders[0].fence == 7 + MOST_GRANTS + 1
    assert begun.grants == 1
    last = t.release(replace(full, transitions=6 + MOST_GRANTS), "a")
    assert held(last) == {"b": (0,)}
    assert last.grants == MOST_GRANTS

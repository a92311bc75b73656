# ruff: noqa: S311  simulations want randomness that a seed repeats
import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodelease import transitions
from nodelease.bounds import Bounds
from nodelease.clock import Moment, clock_id
from nodelease.codec import decode, encode, fits, stamp
from nodelease.exceptions import MalformedLeaseError
from nodelease.state import Holder, LeaseState, Waiter
from tests.unit.lease.model import Lease

STATE = LeaseState(
    slots=3,
    duration_seconds=30,
    holders=(Holder("a-1", "team-a/classify-0", 7, 2, (0, 2)), Holder("b-1", "team-b/embed-1", 8, 0, (1,))),
    queue=(Waiter("c-1", "team-c/x", 5, 2), Waiter("d-1", "team-d/y")),
    transitions=8,
    acquire_time="2026-01-02T03:04:05.000006Z",
    renew_time="2026-01-02T03:04:06.000007Z",
)


def test_the_form_is_that_of_the_contract() -> None:
    lease = encode(STATE)
    annotations = lease["metadata"]["annotations"]
    assert {name: json.loads(text) for name, text in annotations.items()} == {
        "imagejob.dev/slots": 3,
        "imagejob.dev/holders": [
            {"slot": 0, "id": "a-1", "pod": "team-a/classify-0", "fence": 7, "beat": 2},
            {"slot": 2, "id": "a-1", "pod": "team-a/classify-0", "fence": 7, "beat": 2},
            {"slot": 1, "id": "b-1", "pod": "team-b/embed-1", "fence": 8, "beat": 0},
        ],
        "imagejob.dev/queue": [
            {"id": "c-1", "pod": "team-c/x", "priority": 5, "slots": 2},
            {"id": "d-1", "pod": "team-d/y", "priority": 0},
        ],
    }
    assert annotations["imagejob.dev/slots"] == "3"
    assert lease["spec"] == {
        "holderIdentity": "team-a/classify-0,team-b/embed-1",
        "leaseDurationSeconds": 30,
        "leaseTransitions": 8,
        "acquireTime": "2026-01-02T03:04:05.000006Z",
        "renewTime": "2026-01-02T03:04:06.000007Z",
    }


def test_a_fence_is_the_epoch_and_the_number_of_the_grant() -> None:
    state = transitions.request(transitions.begin(LeaseState(slots=1), 1764321352000000), Waiter("a", "p"))
    lease = encode(state)
    assert lease["metadata"]["annotations"]["imagejob.dev/epoch"] == "1764321352000000"
    assert lease["spec"]["leaseTransitions"] == 1
    assert decode(lease) == state
    assert state.holders[0].fence == 1764321352000001


def test_bounds_stand_there_where_there_are_any() -> None:
    bounded = replace(STATE, bounds=Bounds(max_hold_seconds=90.5, max_priority=-3))
    annotations = encode(bounded)["metadata"]["annotations"]
    assert (annotations["imagejob.dev/max-hold"], annotations["imagejob.dev/max-priority"]) == ("90.5", "-3")
    assert decode(encode(bounded)) == bounded
    assert not {"imagejob.dev/max-hold", "imagejob.dev/max-priority"} & encode(STATE)["metadata"]["annotations"].keys()


@pytest.mark.parametrize("name", ["imagejob.dev/max-hold", "imagejob.dev/max-priority"])
@pytest.mark.parametrize("text", ["", "1m", "1e9", 5, "\u0661"])
def test_bounds_that_cannot_be_understood(name: str, text: object) -> None:
    lease = encode(STATE)
    lease["metadata"]["annotations"][name] = text
    with pytest.raises(MalformedLeaseError, match=name):
        decode(lease)


def test_a_grant_says_when_it_was_made_until_it_is_renewed() -> None:
    empty = LeaseState(slots=2)
    granted = stamp(empty, transitions.request(empty, Waiter("a", "p", slots=2)), 12.3456789)
    text = json.loads(encode(granted)["metadata"]["annotations"]["imagejob.dev/holders"])[1]["granted"]
    assert text == f"{clock_id()}@12.345678", "never later than it was"
    assert decode(encode(granted)) == granted
    assert granted.holders[0].granted == Moment(clock_id(), 12.345678)
    renewed = decode(encode(transitions.renew(granted, "a", 1)))
    assert renewed.holders[0].granted is None
    more = stamp(granted, transitions.resize(granted, slots=3), 20.0)
    assert more.holders == granted.holders, "only what this write grants"


@pytest.mark.parametrize("granted", [None, 7, "", "now", "a@", "a@nan", "a@inf", "@1@2"])
def test_a_moment_that_cannot_be_understood_is_none(granted: object) -> None:
    lease = broken({"imagejob.dev/holders": json.dumps([HOLDER | {"beat": 0, "granted": granted}])})
    assert decode(lease).holders[0].granted is None


def test_an_inactive_limit_without_holders() -> None:
    lease = encode(LeaseState(slots=1, active=False))
    assert lease["metadata"]["annotations"]["imagejob.dev/active"] == "false"
    assert "holderIdentity" not in lease["spec"]
    assert decode(lease) == LeaseState(slots=1, active=False)


def test_what_an_operator_creates_is_enough() -> None:
    assert decode({"metadata": {"name": "node-1", "annotations": {"imagejob.dev/slots": "2"}}, "spec": {}}) == LeaseState(slots=2)


@given(seed=st.integers(0, 1 << 32), steps=st.integers(0, 80))
def test_every_reachable_state_survives_the_way_through_a_lease(seed: int, steps: int) -> None:
    lease, rng = Lease(transitions, 2), random.Random(seed)
    for _ in range(steps):
        lease.random_step(rng)
    assert decode(json.loads(json.dumps(encode(lease.state)))) == lease.state


def row(stem: str, numbers: range, pod: str = "ns/pod", priority: int = 0, slots: int = 1) -> tuple[Waiter, ...]:
    return tuple(Waiter(f"{stem}{number}", pod, priority, slots) for number in numbers)


def test_requests_of_one_process_in_a_row_are_one_entry() -> None:
    queue = (
        *row("a-1.", range(8, 1032)),
        *row("b-1.", range(1, 2)),
        *row("a-1.", range(1032, 1034), slots=2),
        *row("a-1.", range(1035, 1036)),
    )
    state = LeaseState(slots=1, queue=queue)
    lease = encode(state)
    assert json.loads(lease["metadata"]["annotations"]["imagejob.dev/queue"]) == [
        {"id": "a-1.8", "pod": "ns/pod", "priority": 0, "count": 1024},
        {"id": "b-1.1", "pod": "ns/pod", "priority": 0},
        {"id": "a-1.1032", "pod": "ns/pod", "priority": 0, "slots": 2, "count": 2},
        {"id": "a-1.1035", "pod": "ns/pod", "priority": 0},
    ]
    assert decode(lease) == state


def size(state: LeaseState) -> int:
    lease = encode(state)
    annotations = lease["metadata"]["annotations"]
    return len(annotations["imagejob.dev/holders"]) + len(annotations["imagejob.dev/queue"]) + len(lease["spec"].get("holderIdentity", ""))


@pytest.mark.parametrize("slots", [1, 4, 1024])
def test_what_follows_from_a_queue_that_fits_is_never_too_large(slots: int) -> None:
    state, number = LeaseState(slots=slots, transitions=10**17, epoch=10**17), 0
    while True:
        pod = f"{'n' * (number % 40)}/p\u00e9{'p' * (number % 250)}"
        numbers = range(10**5, 10**5 + number % 3 + 1)
        more = transitions.request(state, *row(f"12345.{number}.0123ab-1.", numbers, pod, slots=1 + number % 2))
        if not fits(more):
            break
        state, number = more, number + 1
    assert number > 40
    largest = 0
    while state.holders:
        for _ in range(7):
            state = stamp(state, transitions.release(state, state.holders[-1].id if state.holders else ""), 10.0**9)
        renewed = replace(state, holders=tuple(replace(holder, beat=10**6) for holder in state.holders))
        largest = max(largest, size(state), size(renewed))
    assert 20_000 < largest <= 65_536


def test_a_limit_that_grows_over_a_long_queue_grants_what_a_lease_has_room_for() -> None:
    stems = [f"12345.692a1b3c.01234{pod}.runner-1." for pod in range(8)]
    queue = tuple(waiter for pod, stem in enumerate(stems) for waiter in row(stem, range(1, 65), f"team-a/classify-{pod}-abcde"))
    state = transitions.resize(transitions.request(LeaseState(slots=4, transitions=10**16, epoch=10**16), *queue), slots=400)
    assert 200 < state.held < 400
    assert transitions.resize(state, slots=400) is state, "there is nothing more to write"
    granted = {holder.id for holder in state.holders}
    while state.holders:
        renewed = replace(state, holders=tuple(replace(holder, beat=10**6) for holder in state.holders))
        assert max(size(stamp(LeaseState(slots=400), state, 10.0**9)), size(renewed)) <= 65_536
        state = transitions.reap(state, {holder.id for holder in state.holders[:50]})
        granted |= {holder.id for holder in state.holders}
    assert granted == {waiter.id for waiter in queue}, "all have their turn"


def test_a_queue_leaves_room_for_a_holder_even_while_there_is_no_slot() -> None:
    state, number = LeaseState(slots=0), 0
    for step in (50, 1):
        while fits(more := transitions.request(state, *(Waiter(f"{number + ahead}x", "ns/pod") for ahead in range(step)))):
            state, number = more, number + step
    assert transitions.resize(state, slots=1).held == 1


def broken(annotations: dict[str, object] | None = None, **spec: object) -> dict[str, Any]:
    lease = encode(STATE)
    lease["metadata"]["annotations"].update(annotations or {})
    lease["spec"].update(spec)
    return lease


HOLDER = {"slot": 0, "id": "a", "pod": "p", "fence": 1, "beat": 0}
WAITER = {"id": "w", "pod": "p", "priority": 0}


@pytest.mark.parametrize(
    ("lease", "message"),
    [
        ("text", "the Lease must be an object"),
        ({"spec": {}}, "metadata must be an object"),
        ({"metadata": {}, "spec": {}}, "metadata.annotations must be an object"),
        ({"metadata": {"annotations": {}}, "spec": {}}, "annotation imagejob.dev/slots must be a whole number in quotes"),
        (broken({"imagejob.dev/slots": 3}), "imagejob.dev/slots must be a whole number in quotes"),
        (broken({"imagejob.dev/slots": "-1"}), "imagejob.dev/slots"),
        (broken({"imagejob.dev/active": "no"}), 'imagejob.dev/active must be "true" or "false"'),
        (broken({"imagejob.dev/holders": "[{"}), "imagejob.dev/holders must be JSON"),
        (broken({"imagejob.dev/holders": "[" * 100_000}), "imagejob.dev/holders must be JSON"),
        (broken({"imagejob.dev/holders": "{}"}), "imagejob.dev/holders must be a list"),
        (broken({"imagejob.dev/holders": "[1]"}), r"imagejob.dev/holders\[0\] must be an object"),
        (broken({"imagejob.dev/holders": json.dumps([HOLDER | {"slot": True}])}), r"\[0\].slot must be a whole number"),
        (broken({"imagejob.dev/holders": json.dumps([HOLDER | {"fence": 0}])}), r"\[0\].fence must be at least 1"),
        (broken({"imagejob.dev/holders": json.dumps([HOLDER, HOLDER | {"slot": 1, "beat": 1}])}), "equal to the other entries"),
        (broken({"imagejob.dev/holders": json.dumps([HOLDER, HOLDER | {"id": "b", "fence": 2}])}), "gives a slot to two"),
        (broken({"imagejob.dev/holders": json.dumps([HOLDER, HOLDER | {"id": "b", "slot": 1}])}), "must be unique"),
        (broken({"imagejob.dev/holders": json.dumps([HOLDER | {"fence": 9}])}), "at most epoch and leaseTransitions, 8"),
        (broken({"imagejob.dev/queue": json.dumps([WAITER | {"slots": 0}])}), r"\[0\].slots must be at least 1"),
        (broken({"imagejob.dev/queue": json.dumps([WAITER | {"pod": None}])}), r"\[0\].pod must be a string"),
        (broken({"imagejob.dev/queue": json.dumps([WAITER, WAITER])}), "stands twice"),
        (broken({"imagejob.dev/queue": json.dumps([WAITER | {"id": "w" * 60_000 + "1", "count": 8192}])}), r"\[0\].id .* 200 characters"),
        (broken({"imagejob.dev/queue": json.dumps([WAITER | {"id": "w" * 199 + "9", "count": 2}])}), r"the last id .* 200 characters"),
        (broken({"imagejob.dev/queue": json.dumps([WAITER | {"id": "w" * 201}])}), r"\[0\].id .* 200 characters"),
        (broken({"imagejob.dev/queue": json.dumps([WAITER | {"pod": "p" * 321}])}), r"\[0\].pod .* 320 characters"),
        (broken({"imagejob.dev/holders": json.dumps([HOLDER | {"id": "h" * 201}])}), r"\[0\].id .* 200 characters"),
        (broken({"imagejob.dev/holders": json.dumps([HOLDER | {"pod": "p" * 321}])}), r"\[0\].pod .* 320 characters"),
        (broken({"imagejob.dev/queue": json.dumps([WAITER | {"count": 2}])}), r"\[0\].id must be one that ends with a number"),
        (broken({"imagejob.dev/queue": json.dumps([WAITER | {"id": "w-0", "count": 2}])}), r"\[0\].id must be one that ends with a number"),
        (broken({"imagejob.dev/queue": json.dumps([WAITER | {"id": "w-1", "count": 0}])}), r"\[0\].count must be at least 1"),
        (broken({"imagejob.dev/queue": json.dumps([WAITER | {"id": "w-1", "count": 10**9}])}), "must stand for at most 8192 requests"),
        (broken({"imagejob.dev/queue": json.dumps([WAITER | {"id": "w-1", "count": 3}, WAITER | {"id": "w-3"}])}), "stands twice"),
        (broken({"imagejob.dev/queue": json.dumps([WAITER, WAITER | {"id": "v", "priority": 1}])}), "in order of priority"),
        (broken(leaseDurationSeconds=0), "spec.leaseDurationSeconds must be at least 1"),
        (broken(leaseTransitions="8"), "spec.leaseTransitions must be a whole number"),
        (broken(acquireTime=8), "spec.acquireTime must be a string"),
    ],
)
def test_a_malformed_lease_is_named(lease: object, message: str) -> None:
    with pytest.raises(MalformedLeaseError, match=message):
        decode(lease)


def test_times_are_those_of_the_newest_grant_and_renewal() -> None:
    empty = LeaseState(slots=2)
    granted = stamp(empty, transitions.request(empty, Waiter("a", "p")), 1.0)
    assert granted.acquire_time is not None
    assert granted.acquire_time == granted.renew_time
    renewed = stamp(granted, transitions.renew(granted, "a", 1), 2.0)
    assert renewed.acquire_time == granted.acquire_time
    assert renewed.renew_time is not None
    assert renewed.renew_time > granted.acquire_time
    assert stamp(renewed, transitions.release(renewed, "a"), 3.0).renew_time == renewed.renew_time

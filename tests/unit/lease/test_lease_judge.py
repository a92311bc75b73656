"""The judge of the tests passes what the transitions do, and no history that breaks a rule."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from nodelease import transitions
from nodelease.codec import encode
from nodelease.kubernetes.objects import new_lease
from nodelease.state import Holder, LeaseState, Waiter
from tests.tools.lease_judge import LeaseJudge
from tests.tools.lease_recorder import foreign_members, foreign_writes


def revision(state: LeaseState, number: int = 1, uid: str = "1") -> dict[str, Any]:
    lease = new_lease("gpu", "worker", node_uid="7", namespace="leases", state=state)
    lease["metadata"] |= {"resourceVersion": str(number), "uid": uid}
    return lease


def judged(*states: LeaseState) -> list[str]:
    judge = LeaseJudge()
    for number, state in enumerate(states):
        judge.revision(revision(state, number))
    return judge.problems


def holder(name: str, fence: int, slot: int = 0) -> Holder:
    return Holder(name, f"ns/{name}", fence, 0, (slot,))


def waiter(name: str, priority: int = 0, slots: int = 1) -> Waiter:
    return Waiter(name, f"ns/{name}", priority, slots)


A1 = LeaseState(slots=1, holders=(holder("a", 1),), transitions=1)
A1_BC = LeaseState(slots=1, holders=(holder("a", 1),), queue=(waiter("b"), waiter("c")), transitions=1)

BROKEN: dict[str, tuple[str, list[LeaseState]]] = {
    "more holders than slots": (
        "2 slots are held of 1, and ['b'] were granted",
        [A1, LeaseState(slots=1, holders=(holder("a", 1), holder("b", 2, slot=1)), transitions=2)],
    ),
    "a grant while inactive": (
        "1 slots are held of 0",
        [LeaseState(slots=1, active=False), LeaseState(slots=1, active=False, holders=(holder("a", 1),), transitions=1)],
    ),
    "a slot that there is not": (
        "['b'] were granted slots that there are not",
        [LeaseState(slots=1), LeaseState(slots=1, holders=(holder("b", 1, slot=1),), transitions=1)],
    ),
    "the last in the queue is granted first": (
        "c was granted a slot before ['b']",
        [A1_BC, LeaseState(slots=1, holders=(holder("c", 2),), queue=(waiter("b"),), transitions=2)],
    ),
    "one who never queued is granted first": (
        "d was granted a slot before ['b', 'c']",
        [A1_BC, LeaseState(slots=1, holders=(holder("d", 2),), queue=A1_BC.queue, transitions=2)],
    ),
    "two are granted in another order": (
        "were granted slots in another order",
        [A1_BC, LeaseState(slots=2, holders=(holder("c", 2), holder("b", 3, slot=1)), transitions=3)],
    ),
    "the queue is turned round": (
        "the queue was ['b', 'c'] and its rest is ['c', 'b']",
        [A1_BC, LeaseState(slots=1, holders=A1.holders, queue=(waiter("c"), waiter("b")), transitions=1)],
    ),
    "a newcomer jumps the queue": (
        "['d'] came later than b and stand before it",
        [A1_BC, LeaseState(slots=1, holders=A1.holders, queue=(waiter("d"), *A1_BC.queue), transitions=1)],
    ),
    "a fence is given twice": (
        "fences of new grants must be above 1: ['b 1']",
        [A1, LeaseState(slots=1, holders=(holder("b", 1),), transitions=1)],
    ),
    "the fence goes back": ("the fence went back from 5 to 1", [LeaseState(slots=1, transitions=5), A1]),
    "a fence is not counted": ("must be unique and at most", [LeaseState(slots=1, holders=(holder("a", 1),))]),
    "an id stands twice": (
        "an id stands twice among holders and queue",
        [LeaseState(slots=1, holders=A1.holders, queue=(waiter("a"),), transitions=1)],
    ),
    "a slot stands twice": (
        "gives a slot to two holders",
        [LeaseState(slots=2, holders=(holder("a", 1), holder("b", 2)), transitions=2)],
    ),
    "a slot is free and somebody waits": ("1 slots are free and b waits", [LeaseState(slots=1, queue=(waiter("b"),))]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_seen(case: str) -> None:
    message, states = BROKEN[case]
    assert any(message in problem and problem.startswith(f"Lease worker at {len(states) - 1}: ") for problem in judged(*states))


def test_a_shrunk_limit_drains() -> None:
    both = LeaseState(slots=2, holders=(holder("a", 1), holder("b", 2, slot=1)), transitions=2)
    shrunk = transitions.resize(both, slots=1)
    waiting = transitions.request(shrunk, waiter("c"))
    assert judged(both, shrunk, waiting, transitions.release(waiting, "b")) == []


def test_higher_priority_goes_first() -> None:
    assert judged(A1_BC, transitions.request(A1_BC, waiter("d", priority=1))) == []


def test_a_request_that_is_too_large_is_passed_over() -> None:
    large = transitions.request(A1, waiter("large", slots=2))
    both = transitions.request(large, waiter("b"))
    assert judged(A1, large, both, transitions.release(both, "a")) == []


def histories() -> Iterator[list[LeaseState]]:
    """What the transitions make of random requests."""
    for seed in range(40):
        rng = random.Random(seed)  # noqa: S311  a seed repeats it
        states = [LeaseState(slots=rng.randint(1, 3))]
        for number in range(60):
            state = states[-1]
            ids = sorted(state.ids) or ["nobody"]
            held = rng.choice(state.holders) if state.holders else None
            steps = [
                lambda state=state, number=number, rng=rng: transitions.request(state, waiter(f"w{number}", rng.choice([0, 0, 1]))),
                lambda state=state, ids=ids, rng=rng: transitions.release(state, rng.choice(ids)),
                lambda state=state, ids=ids, rng=rng: transitions.withdraw(state, rng.choice(ids)),
                lambda state=state, held=held: transitions.yield_(state, held.id, held.fence, 0, [waiter(held.id)]) if held else state,
                lambda state=state, rng=rng: transitions.resize(state, slots=rng.randint(0, 3), active=rng.random() < 0.8),
            ]
            states.append(rng.choice(steps)())
        yield states


def test_what_the_transitions_do_is_well() -> None:
    for states in histories():
        assert judged(*states) == []


def test_a_lease_that_is_made_again_begins_anew() -> None:
    judge = LeaseJudge()
    judge.revision(revision(A1_BC, 1))
    judge.revision(revision(LeaseState(slots=1), 2, uid="2"))
    judge.deleted(revision(LeaseState(slots=1), 3, uid="2"))
    judge.revision(revision(A1, 4, uid="3"))
    assert judge.problems == []
    assert judge.tracks["worker"].revisions == 1


def test_fences_go_on_where_a_lease_is_made_again() -> None:
    for watched in (True, False):
        for epoch, wrong in ((5, 1), (8, 0)):
            judge = LeaseJudge()
            judge.revision(revision(replace(A1_BC, transitions=7), 1))
            if watched:
                judge.deleted(revision(A1_BC, 2))
            judge.revision(revision(transitions.begin(LeaseState(slots=1), epoch), 3, uid="2"))
            assert len(judge.problems) == wrong


def across_a_gap(before: LeaseState, after: LeaseState) -> list[str]:
    judge = LeaseJudge()
    judge.revision(revision(before, 1))
    judge.revision(revision(after, 2), after_gap=True)
    assert judge.judged == 2
    return judge.problems


def test_across_a_gap_nobody_knows_who_came_first() -> None:
    turned_round = LeaseState(slots=1, holders=(holder("z", 9),), queue=(waiter("c"), waiter("b")), transitions=9)
    assert across_a_gap(A1_BC, turned_round) == []


def test_across_a_gap_fences_grow() -> None:
    assert across_a_gap(LeaseState(slots=1, transitions=9), LeaseState(slots=1, transitions=1)) == [
        "Lease worker at 2: the fence went back from 9 to 1"
    ]
    again = LeaseState(slots=1, holders=(holder("z", 4),), transitions=9)
    assert across_a_gap(LeaseState(slots=1, transitions=9), again) == ["Lease worker at 2: fences of new grants must be above 9: ['z 4']"]


def test_across_a_gap_slots_are_not_given_twice() -> None:
    both = LeaseState(slots=2, holders=(holder("a", 1), holder("b", 2, slot=1)), transitions=2)
    shrunk = transitions.resize(both, slots=1)
    assert across_a_gap(A1, LeaseState(slots=1, holders=shrunk.holders, transitions=2)) == [
        "Lease worker at 2: 2 slots are held of 1, and ['b'] were granted",
        "Lease worker at 2: ['b'] were granted slots that there are not",
    ]
    assert across_a_gap(A1, both) == [], "it grew"
    assert across_a_gap(shrunk, shrunk) == [], "it drains"
    assert across_a_gap(LeaseState(slots=2), shrunk) == [], "it was granted before it shrank"


def test_a_lease_that_cannot_be_understood_is_a_problem() -> None:
    judge = LeaseJudge()
    lease = revision(A1)
    lease["metadata"]["annotations"] = encode(A1)["metadata"]["annotations"] | {"imagejob.dev/queue": "{"}
    judge.revision(lease)
    assert "annotation imagejob.dev/queue must be JSON" in judge.problems[0]


def test_members_of_other_nodes_are_seen() -> None:
    judge = LeaseJudge()
    judge.revision(revision(A1_BC))
    assert judge.members == {("worker", "ns/a"), ("worker", "ns/b"), ("worker", "ns/c")}
    assert foreign_members(judge.members, {"ns/a": "worker", "ns/b": "other"}) == [
        "ns/b of node other took part in a limit of node worker",
        "ns/c of node None took part in a limit of node worker",
    ]


def audited(node: str | None, **changes: Any) -> str:  # noqa: ANN401  parts of an event
    extra = {} if node is None else {"authentication.kubernetes.io/node-name": [node]}
    event = {
        "stage": "ResponseComplete",
        "verb": "update",
        "objectRef": {"resource": "leases", "namespace": "leases", "name": "worker"},
        "responseStatus": {"code": 200},
        "user": {"username": "runner", "extra": extra},
    }
    return json.dumps(event | changes)


def test_writes_from_other_nodes_are_seen() -> None:
    nodes = {"worker": "worker"}
    assert foreign_writes([audited("worker")], "leases", nodes, ()) == []
    assert foreign_writes([audited("other")], "leases", nodes, ()) == ["runner on ['other'] wrote Lease worker of worker"]
    assert foreign_writes([audited(None, verb="delete")], "leases", nodes, ()) == ["runner on no node wrote Lease worker of worker"]


def test_other_requests_are_not_writes() -> None:
    reads = audited("other", verb="watch")
    refused = audited("other", responseStatus={"code": 422})
    begun = audited("other", stage="RequestReceived")
    elsewhere = audited("other", objectRef={"resource": "leases", "namespace": "kube-node-lease", "name": "worker"})
    assert foreign_writes([reads, refused, begun, elsewhere], "leases", {"worker": "worker"}, ()) == []
    assert foreign_writes([audited("other")], "leases", {"worker": "worker"}, ["runner"]) == []

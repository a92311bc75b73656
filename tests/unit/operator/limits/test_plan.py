import copy
import json
from dataclasses import replace

import pytest

from imagejob_operator.limits.facts import Goal, NodeFacts
from imagejob_operator.limits.plan import Action, Beginning, Create, Delete, Replace, Wait, plan
from imagejob_operator.limits.records import LeaseRecord, is_ours, pair_of, read_record
from nodelease.constants import MOST_GRANTS
from nodelease.kubernetes.objects import read_lease
from nodelease.state import LeaseState
from tests.unit.operator.limits.objects import BOUNDS, GOAL, NAMESPACE, NODE, PAIR, Json, lease, record, state

HOLDERS, QUEUE, SLOTS = "imagejob.dev/holders", "imagejob.dev/queue", "imagejob.dev/slots"
LATER = 1000.0
AT_ONCE = Beginning(at=0.0, epoch=0)


def planned(
    known: LeaseRecord | None,
    goal: Goal | None = GOAL,
    node: NodeFacts | None = NODE,
    gone: tuple[str, ...] = (),
    now: float = 0.0,
    beginning: Beginning = AT_ONCE,
) -> Action | None:
    return plan(PAIR, goal, node, known, gone, namespace=NAMESPACE, beginning=beginning, now=now)


def written(action: Action | None) -> LeaseState:
    """What the Lease says after an action that writes it."""
    assert isinstance(action, Create | Replace)
    after = copy.deepcopy(action.lease)
    after["metadata"].setdefault("resourceVersion", "8")
    return read_lease(after, *PAIR).state


def spoilt(of: LeaseState, *, drop: str = "", seen_at: float = 0.0, spec: Json | None = None, **annotations: str) -> LeaseRecord:
    thing = lease(of)
    for name, value in annotations.items():
        thing["metadata"]["annotations"][f"imagejob.dev/{name}"] = value
    thing["metadata"]["annotations"].pop(drop, None)
    thing["spec"] |= spec or {}
    known = read_record(thing, PAIR, seen_at)
    assert known.state is None
    assert known.problem
    return known


# Making, resizing


def test_a_lease_is_made_for_a_node_that_has_the_limit() -> None:
    action = planned(None)
    assert written(action) == LeaseState(2, 30, bounds=BOUNDS)
    assert isinstance(action, Create)
    metadata = action.lease["metadata"]
    assert (metadata["name"], metadata["namespace"]) == ("node-1", NAMESPACE)
    assert metadata["ownerReferences"][0]["uid"] == NODE.uid


@pytest.mark.parametrize(("goal", "node"), [(None, NODE), (GOAL, None), (None, None)])
def test_none_is_made_for_another(goal: Goal | None, node: NodeFacts | None) -> None:
    assert planned(None, goal, node) is None


def test_nothing_is_written_over_what_is_as_it_should_be() -> None:
    assert planned(record(state("a", "b", queue=("c",)))) is None


@pytest.mark.parametrize(
    ("before", "goal", "holders", "queue"),
    [
        pytest.param(state("a", "b", queue=("c", "d")), Goal(3, True, 30), ["a", "b", "c"], ["d"], id="growing grants at once"),
        pytest.param(state("a", "b", queue=("c",)), Goal(1, True, 30, BOUNDS), ["a", "b"], ["c"], id="shrinking takes nothing away"),
        pytest.param(state("a", queue=("b",), slots=1), Goal(1, False, 30), ["a"], ["b"], id="inactive takes nothing away"),
        pytest.param(state(queue=("b",), active=False), GOAL, ["b"], [], id="active again grants"),
        pytest.param(state("a"), Goal(2, True, 60), ["a"], [], id="another duration"),
    ],
)
def test_a_limit_is_resized(before: LeaseState, goal: Goal, holders: list[str], queue: list[str]) -> None:
    after = written(planned(record(before), goal))
    assert (after.slots, after.active, after.duration_seconds) == (goal.slots, goal.active, goal.duration_seconds)
    assert [holder.id for holder in after.holders] == holders
    assert [waiter.id for waiter in after.queue] == queue


def test_what_others_put_into_a_lease_stays() -> None:
    known = record(state("a"))
    known.lease["metadata"]["annotations"]["someone.else/note"] = "hello"  # type: ignore[index]
    action = planned(known, Goal(5, True, 30))
    assert isinstance(action, Replace)
    assert action.lease["metadata"]["annotations"]["someone.else/note"] == "hello"
    assert action.lease["metadata"]["resourceVersion"] == "7"


def test_a_lease_is_not_made_before_nobody_can_use_a_slot_of_the_one_that_is_gone() -> None:
    beginning = Beginning(at=30.0, epoch=4711)
    assert planned(None, beginning=beginning, now=10.0) == Wait(20.0)
    made = planned(None, beginning=beginning, now=30.0)
    assert written(made) == LeaseState(2, 30, transitions=4711, epoch=4711, bounds=BOUNDS)


def test_a_lease_that_can_hardly_count_its_grants_begins_a_new_epoch() -> None:
    worn = replace(state("a", queue=("b",)), slots=1, epoch=1000, transitions=1000 + 2**30 + 1)
    after = written(planned(record(worn), Goal(1, True, 30, BOUNDS), beginning=Beginning(0.0, 2**31)))
    assert (after.epoch, after.transitions, after.holders) == (2**31, 2**31, worn.holders)
    after = written(planned(record(worn), Goal(2, True, 30), beginning=Beginning(0.0, 7)))
    assert [holder.fence for holder in after.holders] == [1, worn.transitions + 1], "whatever the clock says, fences go on"
    assert planned(record(replace(worn, transitions=1000 + MOST_GRANTS // 2)), Goal(1, True, 30, BOUNDS)) is None


# Reaping


def test_the_dead_are_reaped_and_the_next_are_granted_in_the_same_write() -> None:
    action = planned(record(state("a", "b", queue=("c", "d", "e"))), gone=("b", "d"))
    after = written(action)
    assert [(holder.id, holder.slots, holder.fence) for holder in after.holders] == [("a", (0,), 1), ("c", (1,), 3)]
    assert [waiter.id for waiter in after.queue] == ["e"]
    assert isinstance(action, Replace)
    assert action.reaped == ("team-a/b", "team-a/d")


def test_reaping_again_writes_nothing() -> None:
    action = planned(record(state("a", "b")), gone=("b",))
    assert isinstance(action, Replace)
    assert planned(read_record(action.lease, PAIR, 0.0), gone=("b",)) is None


def test_a_limit_that_shrinks_does_so_before_the_slots_of_the_dead_are_granted() -> None:
    after = written(planned(record(state("a", "b", queue=("c",))), Goal(1, True, 30, BOUNDS), gone=("b",)))
    assert [holder.id for holder in after.holders] == ["a"]
    assert [waiter.id for waiter in after.queue] == ["c"]


# Retiring


def test_without_its_limit_a_lease_drains_before_it_goes() -> None:
    first = planned(record(state("a", queue=("b",))), None)
    drained = written(first)
    assert not drained.active
    assert [holder.id for holder in drained.holders] == ["a"], "whoever uses the resource is not forgotten"
    assert isinstance(first, Replace)
    assert planned(read_record(first.lease, PAIR, 0.0), None) is None, "and is waited for"
    assert planned(record(state(queue=("b",), active=False)), None) == Delete("node-1", "uid-of-lease")


def test_a_limit_that_comes_back_finds_its_holders() -> None:
    after = written(planned(record(state("a", queue=("b",), active=False))))
    assert [holder.id for holder in after.holders] == ["a", "b"]


def test_a_lease_whose_node_is_gone_is_left_to_the_garbage_collector() -> None:
    assert planned(record(state("a")), None, None) is None
    spoiled = spoilt(state("a"), holders="}")
    assert planned(spoiled, None, None, now=LATER) is None


def test_a_lease_of_no_node_at_all_is_retired() -> None:
    known = record(state(active=False))
    del known.lease["metadata"]["ownerReferences"]  # type: ignore[attr-defined]
    assert planned(known, None, None) == Delete("node-1", "uid-of-lease")


# Mending


def test_labels_and_owner_are_mended() -> None:
    known = record(state("a"))
    known.lease["metadata"]["labels"] = {"mine": "stays"}  # type: ignore[index]
    action = planned(known, node=NodeFacts("node-1", "uid-of-a-new-node", {}, 1))
    assert isinstance(action, Replace)
    assert action.lease["metadata"]["labels"] == {
        "mine": "stays",
        "app.kubernetes.io/managed-by": "imagejob",
        "imagejob.dev/limit": "gpu",
        "imagejob.dev/node": "node-1",
    }
    assert [owner["uid"] for owner in action.lease["metadata"]["ownerReferences"]] == ["uid-of-a-new-node"]
    assert written(action) == known.state


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(spoilt(state("a", "b", queue=("c",)), slots="many"), id="slots"),
        pytest.param(spoilt(state("a", "b", queue=("c",)), slots="9" * 5000), id="slots that nobody can read"),
        pytest.param(spoilt(state("a", "b", queue=("c",)), slots="1000000000"), id="far too many slots"),
        pytest.param(spoilt(state("a", "b", queue=("c",)), drop=SLOTS), id="no slots"),
        pytest.param(spoilt(state("a", "b", queue=("c",)), active="perhaps"), id="active"),
        pytest.param(spoilt(state("a", "b", queue=("c",)), spec={"leaseTransitions": 0}), id="fence"),
    ],
)
def test_what_the_operator_writes_is_mended_at_once(known: LeaseRecord) -> None:
    after = written(planned(known))
    assert [holder.id for holder in after.holders] == ["a", "b"], "nobody loses a slot"
    assert [waiter.id for waiter in after.queue] == ["c"]
    assert (after.slots, after.transitions) == (2, 2)


def test_mending_grants_what_could_not_be_granted_before() -> None:
    after = written(planned(spoilt(state("a", queue=("b",)), slots="")))
    assert [holder.id for holder in after.holders] == ["a", "b"]


@pytest.mark.parametrize("queue", ["[", "{}", '[{"id": 3}]', '[{"id": "a", "pod": "team-a/a"}]', "[" * 100_000])
def test_a_queue_is_given_up_at_once(queue: str) -> None:
    after = written(planned(spoilt(state("a", queue=("c",)), queue=queue)))
    assert [holder.id for holder in after.holders] == ["a"]
    assert after.queue == ()


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(spoilt(state("a", "b"), holders="["), id="not JSON"),
        pytest.param(spoilt(state("a", "b"), holders="null"), id="no list"),
        pytest.param(spoilt(state("a", "b"), drop=HOLDERS, slots="x"), id="no holders at all"),
        pytest.param(
            spoilt(state("a"), holders=json.dumps([{"slot": 0, "id": name, "pod": "p", "fence": 1, "beat": 0} for name in "ab"])),
            id="twice",
        ),
    ],
)
def test_unknown_holders_are_waited_for_a_whole_lease_duration(known: LeaseRecord) -> None:
    assert planned(known, now=1.0) == Wait(29.0)
    assert planned(known, Goal(2, True, 300), now=1.0) == Wait(299.0)
    after = written(planned(known, now=30.0))
    assert (after.holders, after.queue, after.slots) == ((), (), 2)
    assert after.transitions >= 1, "the fence goes on"
    assert planned(known, None, now=1.0) == Wait(29.0)
    assert planned(known, None, now=30.0) == Delete("node-1", "uid-of-lease")


def test_the_fence_goes_on_from_the_highest_that_can_be_found() -> None:
    known = spoilt(state("a"), holders='[{"fence": 41, "fence":17, "fence": 99999999999999999999', spec={"leaseTransitions": 5})
    assert written(planned(known, now=LATER)).transitions == 41
    assert written(planned(known, now=LATER, beginning=Beginning(0.0, 4711))).transitions == 4711


@pytest.mark.parametrize("epoch", ["", "-1", "x", "9" * 19, "99"])
def test_an_epoch_that_somebody_spoilt_is_begun_anew(epoch: str) -> None:
    known = spoilt(replace(state("a", "b", queue=("c",)), transitions=72, epoch=70), slots="" if epoch == "99" else "2", epoch=epoch)
    assert known.lease["spec"]["leaseTransitions"] == 2
    after = written(planned(known, beginning=Beginning(0.0, 4711)))
    assert [holder.id for holder in after.holders] == ["a", "b"], "nobody loses a slot"
    assert after.transitions >= 2


# Whose Lease it is


@pytest.mark.parametrize(
    ("name", "labels", "pair"),
    [
        ("node-1", {"imagejob.dev/limit": "gpu", "imagejob.dev/node": "node-1"}, ("gpu", "node-1")),
        ("disk.node-1", {"imagejob.dev/limit": "disk", "imagejob.dev/node": "node-1"}, ("disk", "node-1")),
        ("disk.node-1", {"imagejob.dev/limit": "gpu", "imagejob.dev/node": "disk.node-1"}, ("gpu", "disk.node-1")),
        ("gone.node-9", {"imagejob.dev/limit": "gone", "imagejob.dev/node": "node-9"}, ("gone", "node-9")),
        ("node-1", {}, ("gpu", "node-1")),
        ("disk.node-1", {"imagejob.dev/limit": "gpu", "imagejob.dev/node": "node-1"}, ("disk", "node-1")),
        ("node-1", {"imagejob.dev/limit": "G P U", "imagejob.dev/node": "node-1"}, ("gpu", "node-1")),
        ("somebody", {"imagejob.dev/limit": "gpu"}, None),
    ],
)
def test_the_pair_of_a_lease(name: str, labels: dict[str, str], pair: tuple[str, str] | None) -> None:
    assert pair_of({"metadata": {"name": name, "labels": labels}}, {"gpu", "disk"}, {"node-1"}) == pair


def test_somebody_elses_lease() -> None:
    assert not is_ours({"metadata": {"name": "node-1", "annotations": {"leader": "me"}}, "spec": {"holderIdentity": "me"}})
    assert is_ours({"metadata": {"name": "node-1", "annotations": {SLOTS: "2"}}})
    assert is_ours({"metadata": {"name": "node-1", "labels": {"app.kubernetes.io/managed-by": "imagejob"}}})

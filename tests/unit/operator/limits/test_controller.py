import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from imagejob_operator.kubernetes.kinds import EVENT, LEASE, NODE, NODE_LIMIT, POD
from imagejob_operator.limits import LimitFacts, controller, leases
from imagejob_operator.limits.processes import container_ends, has_ended
from imagejob_operator.lists import RELIST_SECONDS
from imagejob_operator.settings import Settings
from nodelease import Holder, LeaseState, Waiter
from nodelease.kubernetes.names import lease_name
from nodelease.kubernetes.objects import read_lease
from tests.unit.operator.limits.objects import BOUNDS, NAMESPACE, PAIR, Json, lease, node, node_limit, pod, state
from tests.unit.operator.limits.server import Operator, Server

HOLDERS = "imagejob.dev/holders"


@pytest.fixture
def server() -> Server:
    server = Server()
    server.put(NODE_LIMIT, node_limit())
    for number in (1, 2):
        server.put(NODE, node(f"node-{number}"))
    return server


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass for operators that are made afterwards."""
    time = [1000.0]
    for module in (controller, leases):
        monkeypatch.setattr(module, "now", lambda: time[0])

    def wait(seconds: float) -> None:
        time[0] += seconds

    return wait


async def started(server: Server, settings: Settings | None = None) -> Operator:
    operator = Operator(server, settings)
    await operator.settle()
    return operator


def says(server: Server, node: str = "node-1", limit: str = "gpu") -> LeaseState | None:
    found = server.get(LEASE, lease_name(limit, node), NAMESPACE)
    if found is None:
        return None
    state = read_lease(found, limit, node).state
    return replace(state, transitions=state.grants, epoch=0)


def rewrite(server: Server, of: LeaseState) -> None:
    """The pods of node-1 have come to this."""
    current, new = server.get(LEASE, "node-1", NAMESPACE), lease(of)
    assert current is not None
    server.put(LEASE, {**current, "metadata": {**current["metadata"], "annotations": new["metadata"]["annotations"]}, "spec": new["spec"]})


def warnings(server: Server) -> list[str]:
    return [thing["reason"] for name, thing in server.objects.items() if name[0] == EVENT.plural]


def status(server: Server, name: str = "gpu") -> Json:
    found = server.get(NODE_LIMIT, name)
    assert found is not None
    return dict(found["status"])


# From a NodeLimit to Leases


async def test_each_matching_node_gets_a_lease(server: Server) -> None:
    server.put(NODE_LIMIT, node_limit("disk", slotsPerDevice=3, nodeSelector={"disk": "fast"}))
    server.put(NODE, node("node-3", labels={"disk": "fast"}, gpus=2))
    await started(server)
    assert [says(server, f"node-{number}") for number in (1, 2, 3)] == [LeaseState(2, bounds=BOUNDS)] * 3
    assert [says(server, f"node-{number}", "disk") for number in (1, 2, 3)] == [None, None, LeaseState(6, bounds=BOUNDS)]


async def test_a_restart_over_unchanged_objects_writes_nothing(server: Server, clock: Callable[[float], None]) -> None:
    server.put(POD, pod("a"))
    server.put(POD, pod("b", member=False))
    server.put(LEASE, lease(state("a", queue=("b",), slots=2)))
    operator = await started(server)
    clock(10)
    operator.queue["NodeLimit", "gpu"] = None
    await operator.settle()
    assert status(server)["held"] == 2
    before = len(server.writes)
    await started(server)
    assert server.writes[before:] == []


async def test_nodes_come_change_and_go(server: Server) -> None:
    server.objects.clear()
    server.put(NODE_LIMIT, node_limit(slotsPerDevice=2, nodeSelector={"gpu": "yes"}))
    operator = await started(server)
    assert operator.limits.view.get("gpu") == LimitFacts(active=True, node_selector={"gpu": "yes"}, on_nodes=False)
    server.put(NODE, node(labels={"gpu": "yes"}, gpus=1))
    await operator.settle()
    assert says(server) == LeaseState(2, bounds=BOUNDS)
    server.put(NODE, node(labels={"gpu": "yes"}, gpus=4))
    await operator.settle()
    assert says(server) == LeaseState(8, bounds=BOUNDS)
    server.put(NODE, node(labels={}, gpus=4))
    await operator.settle()
    assert says(server) is None
    assert operator.limits.view.get("gpu") == LimitFacts(active=True, node_selector={"gpu": "yes"}, on_nodes=False)


async def test_what_a_limit_allows_holds_at_once(server: Server) -> None:
    for name in ("a", "b", "c"):
        server.put(POD, pod(name))
    operator = await started(server)
    waiting = state("a", queue=("b", "c"), slots=2)
    rewrite(server, replace(waiting, queue=(replace(waiting.queue[0], priority=500), waiting.queue[1]), slots=1))
    server.put(NODE_LIMIT, node_limit(generation=2, slots=1, maxHold="20s", maxPriority=10))
    await operator.settle()
    found = server.get(LEASE, "node-1", NAMESPACE)
    assert found is not None
    annotations = found["metadata"]["annotations"]
    assert (annotations["imagejob.dev/max-hold"], annotations["imagejob.dev/max-priority"]) == ("20", "10")
    assert [waiter["priority"] for waiter in json.loads(annotations["imagejob.dev/queue"])] == [10, 0]
    assert operator.limits.view.get("gpu") == LimitFacts(active=True, node_selector={}, on_nodes=True, max_hold="20s", max_priority=10)


async def test_a_limit_is_resized_live_and_drains_before_it_goes(server: Server) -> None:
    for name in ("a", "b", "c"):
        server.put(POD, pod(name))
    operator = await started(server)
    rewrite(server, state("a", "b", queue=("c",)))
    for slots, holders in ((4, ["a", "b", "c"]), (1, ["a", "b", "c"])):
        server.put(NODE_LIMIT, node_limit(generation=slots, slots=slots))
        await operator.settle()
        found = says(server)
        assert found is not None
        assert (found.slots, [holder.id for holder in found.holders]) == (slots, holders)
    server.remove((NODE_LIMIT.plural, "", "gpu"))
    await operator.settle()
    found = says(server)
    assert found is not None
    assert not found.active
    assert says(server, "node-2") is None, "nobody held a slot there"
    for name in ("a", "b", "c"):
        server.remove((POD.plural, "team-a", name))
    await operator.settle()
    assert says(server) is None


# Dead pods


@pytest.mark.parametrize("end", ["deleted", "Failed", "Succeeded"])
async def test_the_end_of_a_pod_frees_its_slots_with_one_read_and_one_write(server: Server, end: str) -> None:
    for name in ("a", "b", "c"):
        server.put(POD, pod(name))
    await started(server)
    server.put(LEASE, lease(state("a", "b", queue=("c",))))
    operator = await started(server)
    before = len(server.requests)
    if end == "deleted":
        server.remove((POD.plural, "team-a", "a"))
    else:
        server.put(POD, pod("a", end))
    operator.deliver_all()
    await operator.work_one(("Lease", "node-1", "gpu"))
    assert [method for method, _ in server.requests[before:]] == ["GET", "PUT"]
    found = says(server)
    assert found is not None
    assert [holder.id for holder in found.holders] == ["b", "c"]


def with_containers(pod: Json, *states: str, restart: str = "Never", **container: str) -> Json:
    containers = [{"name": str(number), **container} for number in range(2)]
    statuses = [{"name": str(number), "state": {state: {}}} for number, state in enumerate(states)]
    status = {**pod["status"], "containerStatuses": statuses}
    return {**pod, "spec": {"restartPolicy": restart, "containers": containers}, "status": status}


@pytest.mark.parametrize(
    ("ended", "kept"),
    [
        (with_containers(pod("a"), "terminated", "terminated"), False),
        (with_containers(pod("a"), "terminated", "running"), True),
        (with_containers(pod("a"), "terminated"), True),
        (with_containers(pod("a"), "terminated", "terminated", restart="OnFailure"), True),
        (with_containers(pod("a"), "terminated", "terminated", restartPolicy="Always"), True),
    ],
)
async def test_a_pod_whose_containers_have_all_ended_for_good_frees_its_slots_before_its_phase_says_so(
    server: Server, ended: Json, *, kept: bool
) -> None:
    for name in ("a", "b", "c"):
        server.put(POD, pod(name))
    await started(server)
    server.put(LEASE, lease(state("a", "b", queue=("c",))))
    operator = await started(server)
    server.put(POD, ended)
    await operator.settle()
    found = says(server)
    assert found is not None
    assert [holder.id for holder in found.holders] == (["a", "b"] if kept else ["b", "c"])


TEN, NINE = f"7.{10:x}.0123ab", f"7.{9:x}.0123ab"
"""Processes that were there in the tenth and the ninth second of 1970."""


def ended(of: Json, **times: int) -> Json:
    """A pod whose containers have ended then, and run again; at 0 never."""
    statuses = [
        {
            "name": name,
            "state": {"running": {}},
            "lastState": {"terminated": {"finishedAt": f"1970-01-01T00:00:{time:02}Z"}} if time else {},
        }
        for name, time in times.items()
    ]
    return {**of, "status": {**of["status"], "containerStatuses": statuses}}


@pytest.mark.parametrize("member", [True, False])
@pytest.mark.parametrize(
    ("restarted", "left"),
    [
        pytest.param(ended(pod("a"), main=10), [f"{TEN}-1.1", f"{TEN}-1.2", "c"], id="what was there before its end"),
        pytest.param(ended(pod("a"), main=9), [f"{NINE}-1.1", f"{TEN}-1.1", f"{TEN}-1.2", "c"], id="nobody that may be of the new one"),
        pytest.param(ended(pod("a"), main=11), ["c"], id="all its processes"),
        pytest.param(
            ended(pod("a"), main=11, side=0), [f"{NINE}-1.1", f"{TEN}-1.1", f"{TEN}-1.2", "c"], id="no process of which it is not told"
        ),
        pytest.param(ended(pod("a"), main=11, side=10), [f"{TEN}-1.1", f"{TEN}-1.2", "c"], id="those older than all ends"),
    ],
)
async def test_a_container_that_was_started_again_frees_what_its_last_process_had(
    server: Server, restarted: Json, left: list[str], *, member: bool
) -> None:
    labels = {} if member else {"metadata": {**restarted["metadata"], "labels": {}}}
    server.put(POD, pod("a") | labels)
    server.put(POD, pod("c"))
    before = LeaseState(
        1,
        holders=(Holder(f"{NINE}-1.1", "team-a/a", 1, 0, (0,)),),
        queue=(*(Waiter(f"{TEN}-1.{number}", "team-a/a") for number in (1, 2)), Waiter("c", "team-a/c")),
        transitions=1,
        bounds=BOUNDS,
    )
    server.put(NODE_LIMIT, node_limit(slots=1))
    server.put(LEASE, lease(before))
    operator = await started(server)
    assert says(server) == before
    server.put(POD, restarted | labels)
    if not member:
        operator = await started(server)
    await operator.settle()
    found = says(server)
    assert found is not None
    assert [entry.id for entry in (*found.holders, *found.queue)] == left
    assert len(found.holders) == 1


def test_where_no_container_has_ended_no_id_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagejob_operator.limits.processes.origin", None)
    assert not has_ended(f"{TEN}-1.1", {}), "a Lease may have thousands"


@pytest.mark.parametrize(("container", "kept"), [("main", False), ("side", True), ("unknown", True)])
def test_a_process_that_tells_its_container_ends_with_it(container: str, *, kept: bool) -> None:
    ends = container_ends(ended(pod("a"), main=11, side=0))
    assert has_ended(f"{TEN}.{container}-1.1", ends) is not kept
    assert not has_ended(f"{TEN}.{container}-1.1", {})
    assert not has_ended("nonsense", ends)
    assert not has_ended(
        f"{TEN}.{container}-1.1", container_ends({"status": {"containerStatuses": [{"state": {"terminated": {"finishedAt": "?"}}}]}})
    )


def test_a_process_in_a_container_that_the_pod_does_not_tell_of_has_not_ended() -> None:
    assert not has_ended(f"{TEN}.debugger-1.1", container_ends(ended(pod("a"), main=11)))


@pytest.mark.parametrize(("second", "kept"), [("11", False), ("05", True)])
def test_a_clock_that_was_set_back_ends_no_process(second: str, *, kept: bool) -> None:
    times = {
        "state": {"running": {"startedAt": f"1970-01-01T00:00:{second}Z"}},
        "lastState": {"terminated": {"finishedAt": "1970-01-01T00:00:11Z"}},
    }
    ends = container_ends({"status": {"containerStatuses": [{"name": "main", **times}]}})
    assert has_ended("1.6.0123ab.main-1.1", ends) is not kept


async def test_the_end_of_a_pod_without_slots_costs_nothing(server: Server) -> None:
    server.put(POD, pod("a"))
    operator = await started(server)
    before = len(server.requests)
    server.put(POD, pod("a", "Succeeded"))
    server.remove((POD.plural, "team-a", "a"))
    await operator.settle()
    assert len(server.requests) == before


async def test_pods_that_ended_while_nobody_looked_are_reaped_at_the_start(server: Server) -> None:
    server.put(POD, pod("a", "Failed"))
    server.put(POD, pod("c"))
    server.put(LEASE, lease(state("a", "b", queue=("c", "d"))))
    await started(server)
    found = says(server)
    assert found is not None
    assert [holder.id for holder in found.holders] == ["c"]
    assert found.queue == ()


async def test_a_pod_of_the_same_name_keeps_its_slot_when_the_old_ones_end_is_told_late(server: Server) -> None:
    server.put(POD, pod("a"))
    await started(server)
    operator = await started(server)
    server.remove((POD.plural, "team-a", "a"))
    server.put(POD, pod("a"))
    server.put(LEASE, lease(state("a")))
    operator.deliver_one((LEASE.plural, NAMESPACE, "node-1"))
    operator.deliver_one((POD.plural, "team-a", "a"))  # only that the first one was deleted
    await operator.work()
    found = says(server)
    assert found is not None
    assert [holder.id for holder in found.holders] == ["a"]


async def test_pods_without_the_label_are_asked_for_now_and_then(server: Server, clock: Callable[[float], None]) -> None:
    server.put(POD, pod("a", member=False))
    server.put(POD, pod("b", member=False))
    server.put(LEASE, lease(state("a", queue=("b",), slots=1)))
    server.put(NODE_LIMIT, node_limit(slots=1))
    operator = await started(server)
    key = ("Lease", "node-1", "gpu")
    assert operator.again[key] == 5, "the holder's turn comes first"
    before = len(server.requests)
    operator.queue[key] = None
    await operator.settle()
    assert len(server.requests) == before, "nobody is asked again so soon"
    server.remove((POD.plural, "team-a", "a"))
    clock(5)
    operator.queue[key] = None
    await operator.settle()
    found = says(server)
    assert found is not None
    assert [holder.id for holder in found.holders] == ["b"]


async def test_a_pod_that_holds_and_waits_is_asked_for_as_often_as_a_holder(server: Server, clock: Callable[[float], None]) -> None:
    server.put(POD, pod("a", member=False))
    both = state("a", slots=1)
    server.put(LEASE, lease(replace(both, queue=(Waiter("more", "team-a/a"),))))
    server.put(NODE_LIMIT, node_limit(slots=1))
    operator = await started(server)
    server.remove((POD.plural, "team-a", "a"))
    clock(5)
    operator.queue["Lease", "node-1", "gpu"] = None
    await operator.settle()
    found = says(server)
    assert found is not None
    assert (found.holders, found.queue) == ((), ())


async def test_entries_that_name_no_pod_are_left_to_expiry(server: Server) -> None:
    spoilt = lease(state("a"))
    spoilt["metadata"]["annotations"][HOLDERS] = spoilt["metadata"]["annotations"][HOLDERS].replace("team-a/a", "a/../../nodes/x")
    server.put(LEASE, spoilt)
    await started(server)
    found = says(server)
    assert found is not None
    assert len(found.holders) == 1
    assert not [path for _, path in server.requests if ".." in path]


async def test_a_pod_that_may_not_be_read_is_left_to_expiry(server: Server) -> None:
    server.put(LEASE, lease(state("a")))
    answer = server._answer

    def forbidding(method: str, path: str, *rest: object) -> tuple[int, Json]:
        return (403, {"reason": "Forbidden"}) if path.endswith("/pods/a") else answer(method, path, *rest)  # type: ignore[arg-type]

    server._answer = forbidding  # type: ignore[method-assign,assignment]
    await started(server)
    found = says(server)
    assert found is not None
    assert [holder.id for holder in found.holders] == ["a"]


# Leases that are made again


@pytest.mark.parametrize("seen", [True, False], ids=["the operator saw it", "the operator was away"])
async def test_a_lease_that_others_deleted_is_made_again_when_nobody_can_hold_a_slot_of_it(
    server: Server,
    clock: Callable[[float], None],
    seen: bool,  # noqa: FBT001  a case
) -> None:
    for name in ("a", "b"):
        server.put(POD, pod(name) | {"spec": {"nodeName": "node-1"}})
    used = replace(state("a", "b"), epoch=2**52, transitions=2**52 + 2)  # as after a clock that was wrong
    server.put(LEASE, lease(replace(used, holders=tuple(replace(holder, fence=2**52 + holder.fence) for holder in used.holders))))
    operator = await started(server)
    server.remove((LEASE.plural, NAMESPACE, "node-1"))
    operator = operator if seen else Operator(server)
    await operator.settle()
    clock(29)
    operator.queue["Lease", "node-1", "gpu"] = None
    await operator.settle()
    assert says(server) is None, "who is cut off may still use it"
    assert says(server, "node-2") is not None, "where nobody can hold a slot nothing is waited for"
    assert operator.again["Lease", "node-1", "gpu"] == 1
    clock(1)
    operator.queue["Lease", "node-1", "gpu"] = None
    await operator.settle()
    assert says(server) == LeaseState(2, bounds=BOUNDS)
    made = server.get(LEASE, "node-1", NAMESPACE)
    assert made is not None
    assert read_lease(made, *PAIR).state.epoch >= (2**52 + 2 if seen else 1.7e15)


async def test_a_limit_that_is_made_again_after_it_drained_is_there_at_once(server: Server, clock: Callable[[float], None]) -> None:
    clock(0)
    operator = await started(server)
    server.put(POD, pod("a") | {"spec": {"nodeName": "node-1"}})
    fences = []
    for _ in range(3):
        made = server.get(LEASE, "node-1", NAMESPACE)
        assert made is not None
        fences.append(read_lease(made, *PAIR).state.transitions)
        server.remove((NODE_LIMIT.plural, "", "gpu"))
        await operator.settle()
        assert says(server) is None
        server.put(NODE_LIMIT, node_limit())
        await operator.settle()
    assert fences == sorted(set(fences)), "no fence comes again"


# Hostile or foreign Leases


async def test_a_malformed_lease_is_told_once_and_holds_up_nobody(server: Server, clock: Callable[[float], None]) -> None:
    spoilt = lease(state("a"))
    spoilt["metadata"]["annotations"][HOLDERS] = "{"
    server.put(LEASE, spoilt)
    operator = await started(server)
    assert warnings(server) == ["MalformedLease"]
    assert says(server, "node-2") == LeaseState(2, bounds=BOUNDS)
    assert operator.again["Lease", "node-1", "gpu"] == 30
    await started(server)
    assert warnings(server) == ["MalformedLease"]
    operator = await started(server)
    clock(31)
    operator.queue["Lease", "node-1", "gpu"] = None
    await operator.settle()
    assert says(server) == LeaseState(2, bounds=BOUNDS)


async def test_an_event_that_cannot_be_posted_holds_up_no_mending(server: Server, clock: Callable[[float], None]) -> None:
    spoilt = lease(state("a"))
    spoilt["metadata"]["annotations"][HOLDERS] = "{"
    server.put(LEASE, spoilt)
    answer = server._answer

    def without_events(method: str, path: str, *rest: object) -> tuple[int, Json]:
        return (404, {"reason": "NotFound"}) if path.endswith("/events") else answer(method, path, *rest)  # type: ignore[arg-type]

    server._answer = without_events  # type: ignore[method-assign,assignment]
    operator = await started(server)
    clock(31)
    operator.queue["Lease", "node-1", "gpu"] = None
    await operator.settle()
    assert warnings(server) == []
    assert says(server) == LeaseState(2, bounds=BOUNDS)


async def test_somebody_elses_lease_is_left_alone(server: Server) -> None:
    server.put(LEASE, {"metadata": {"name": "node-1", "namespace": NAMESPACE}, "spec": {"holderIdentity": "me"}})
    before = server.get(LEASE, "node-1", NAMESPACE)
    await started(server)
    assert server.get(LEASE, "node-1", NAMESPACE) == before
    assert warnings(server) == ["LeaseNameTaken"]
    assert says(server, "node-2") == LeaseState(2, bounds=BOUNDS)


async def test_a_lease_that_lost_its_labels_is_found_and_keeps_its_holders(server: Server) -> None:
    server.put(POD, pod("a"))
    bare = lease(state("a"))
    bare["metadata"]["labels"] = {}
    server.put(LEASE, bare)
    await started(server)
    found = says(server)
    assert found is not None
    assert [holder.id for holder in found.holders] == ["a"]


async def test_a_limit_that_cannot_be_understood_leaves_its_leases_as_they_are(server: Server) -> None:
    server.put(POD, pod("b"))
    server.put(LEASE, lease(state("a", "b")))
    server.put(NODE_LIMIT, node_limit(slots=1, slotsPerMoon=2))
    operator = await started(server)
    assert warnings(server) == ["InvalidNodeLimit"]
    found = says(server)
    assert found is not None
    assert (found.slots, [holder.id for holder in found.holders]) == (2, ["b"]), "but for the dead"
    assert operator.limits.view.get("gpu") is None


async def test_a_list_that_tells_of_it_again_makes_no_malformed_lease_new(server: Server, clock: Callable[[float], None]) -> None:
    server.put(NODE_LIMIT, node_limit(slots=2, leaseDurationSeconds=900))
    spoilt = lease(state("a"))
    spoilt["metadata"]["annotations"][HOLDERS] = "{"
    server.put(LEASE, spoilt)
    operator = await started(server)
    for _ in range(2):
        clock(RELIST_SECONDS)
        operator.queue["NodeLimit", "gpu"] = None
        await operator.settle()
        operator.queue["Lease", "node-1", "gpu"] = None
        await operator.settle()
    assert says(server) == LeaseState(2, 900, bounds=BOUNDS)


# Lost races


async def test_a_lost_race_is_run_again_at_once(server: Server) -> None:
    for name in ("b", "c"):
        server.put(POD, pod(name))
    server.put(LEASE, lease(state("a", queue=("b",), slots=2)))
    answer = server._answer
    races = 3

    def racing(method: str, path: str, *rest: object) -> tuple[int, Json]:
        nonlocal races
        if method == "PUT" and races:
            races -= 1
            rewrite(server, state("a", queue=("b", "c")))
        return answer(method, path, *rest)  # type: ignore[arg-type]

    server._answer = racing  # type: ignore[method-assign,assignment]
    await started(server)
    assert races == 0
    found = says(server)
    assert found is not None
    assert [holder.id for holder in found.holders] == ["b", "c"]


async def test_what_was_deleted_while_the_watch_was_down_is_noticed(server: Server, clock: Callable[[float], None]) -> None:
    server.put(POD, pod("a"))
    server.put(LEASE, lease(state("a")))
    operator = await started(server)
    server.remove((POD.plural, "team-a", "a"))
    server.remove((NODE.plural, "", "node-2"))
    server.remove((LEASE.plural, NAMESPACE, "node-2"))
    server.events.clear()
    clock(601)
    operator.queue["NodeLimit", "gpu"] = None
    await operator.settle()
    found = says(server)
    assert found is not None
    assert found.holders == ()
    assert operator.limits.view.get("gpu") == LimitFacts(active=True, node_selector={}, on_nodes=True)


# Status, view, metrics


async def test_the_status_comes_when_all_leases_are_there_and_then_at_most_once_in_ten_seconds(
    server: Server, clock: Callable[[float], None]
) -> None:
    server.put(POD, pod("a"))
    operator = await started(server)
    assert status(server) == {"observedGeneration": 1, "nodes": 2, "slots": 4, "held": 0, "waiting": 0}
    writes = len(server.writes)
    for holders in ((), ("a",), (), ("a",)):
        rewrite(server, state(*holders))
        clock(1)
        await operator.settle()
    assert len(server.writes) == writes
    assert operator.again["NodeLimit", "gpu"] == 8
    clock(8)
    operator.queue["NodeLimit", "gpu"] = None
    await operator.settle()
    assert status(server)["held"] == 1
    assert len(server.writes) == writes + 1


async def test_whoever_waits_for_a_limit_is_woken(server: Server) -> None:
    server.objects.clear()
    operator = await started(server)
    woken: list[str] = []
    operator.limits.view.subscribe(woken.append)
    assert operator.limits.view.get("gpu") is None
    for thing, facts in (
        (node_limit(), LimitFacts(active=True, node_selector={}, on_nodes=False)),
        (node_limit(generation=2, slots=2, active=False), LimitFacts(active=False, node_selector={}, on_nodes=False)),
    ):
        server.put(NODE_LIMIT, thing)
        await operator.settle()
        assert operator.limits.view.get("gpu") == facts
    server.put(NODE, node())
    await operator.settle()
    assert operator.limits.view.get("gpu") == LimitFacts(active=False, node_selector={}, on_nodes=True)
    server.put(NODE, node("node-2"))
    server.put(NODE, {**node(), "status": {"conditions": []}})
    await operator.settle()
    server.remove((NODE_LIMIT.plural, "", "gpu"))
    await operator.settle()
    assert operator.limits.view.get("gpu") is None
    assert woken == ["gpu"] * 4


async def test_slots_are_shown_to_prometheus(server: Server) -> None:
    for name in ("a", "b"):
        server.put(POD, pod(name))
    server.put(LEASE, lease(state("a", queue=("b",), slots=2, active=True)))
    server.put(NODE_LIMIT, node_limit(slots=1))
    operator = await started(server)

    def shown(name: str) -> float | None:
        return operator.metrics.registry.get_sample_value(f"imagejob_limit_{name}", {"limit": PAIR[0], "node": PAIR[1]})

    assert [shown(name) for name in ("slots", "held", "waiting")] == [1, 1, 1]
    server.remove((LEASE.plural, NAMESPACE, "node-1"))
    server.remove((NODE.plural, "", "node-1"))
    await operator.settle()
    assert shown("slots") is None


async def test_nothing_is_done_before_everything_was_listed(server: Server) -> None:
    operator = Operator(server)
    assert not operator.limits.view.synced
    await operator.limits.sync()
    assert operator.limits.view.synced
    assert {path for _, path in server.requests} == {
        "/apis/imagejob.dev/v1alpha1/nodelimits",
        "/api/v1/nodes",
        "/api/v1/pods",
        f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases",
    }
    assert json.dumps(sorted(operator.queue)) == json.dumps([["Lease", "node-1", "gpu"], ["Lease", "node-2", "gpu"], ["NodeLimit", "gpu"]])

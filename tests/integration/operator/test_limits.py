import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kubernetes.aio.config import kube_config

from imagejob_operator.kubernetes.connection import connect
from imagejob_operator.kubernetes.kinds import EVENT, LEASE, NODE, NODE_LIMIT
from nodelease import LeaseClient, Waiter, transitions
from nodelease.kubernetes.objects import merged, new_lease, read_lease
from nodelease.state import LeaseState
from tests.cluster.control_plane import ControlPlane
from tests.integration.operator.limits_harness import Cluster, Operator, operator, until

pytestmark = pytest.mark.integration

RecordProperty = Callable[[str, object], None]
MANY_NODES = 1000


@pytest.fixture
async def world(cluster: ControlPlane, no_limits: None, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    del no_limits  # are there
    # The client reads $KUBECONFIG once, when it is imported.
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(cluster.kubeconfig))
    connection = await connect()
    world = Cluster(connection.api, namespace)
    try:
        yield world
    finally:
        await world.clean_up()
        await connection.api.close()


async def settled(world: Cluster, limit: str, **status: int) -> None:
    """The NodeLimit's status says so; it comes when its Leases are as they are to be."""

    async def said() -> bool:
        found = await world.api.get(NODE_LIMIT, limit)
        current = found["status"]
        return current.get("observedGeneration") == found["metadata"]["generation"] and status.items() <= current.items()

    await until(said, f"status {status}")


async def test_leases_follow_their_limit(world: Cluster) -> None:
    limit = f"licence-{world.namespace}"
    nodes = [await world.add_node(number, {"has": "it"} if number < 2 else {}) for number in range(3)]
    async with operator(world.namespace):
        await world.set_limit(
            limit, slots=2, nodeSelector={"test": world.namespace, "has": "it"}, overrides=[{"node": nodes[1], "slots": 5}]
        )
        await settled(world, limit, nodes=2, slots=7)
        leases = [await world.lease(limit, node) for node in nodes]
        assert leases[2] is None
        for node, lease in zip(nodes[:2], leases, strict=False):
            owner = (await world.api.get(NODE, node))["metadata"]["uid"]
            assert lease is not None
            assert [(one["kind"], one["uid"]) for one in lease["metadata"]["ownerReferences"]] == [("Node", owner)]
        await world.api.patch(NODE, nodes[2], None, {"metadata": {"labels": {"has": "it"}}})
        await settled(world, limit, nodes=3, slots=9)
        await world.api.delete(NODE_LIMIT, limit)

        async def gone() -> bool:
            return [await world.lease(limit, node) for node in nodes] == [None] * 3

        await until(gone, "nobody holds a slot, so the Leases go with their NodeLimit")


@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")  # clients do not wait for TLS's goodbye
async def test_slots_change_while_pods_use_them(world: Cluster, cluster: ControlPlane) -> None:
    node = await world.add_node(0)
    pods = [await world.add_pod(f"pod-{number}", node) for number in range(5)]

    async def held(count: int) -> None:
        async def so() -> bool:
            return (await world.state("gpu", node)).held == count

        await until(so, f"{count} slots held")

    async with operator(world.namespace):
        await world.set_limit("gpu", slots=2)
        await settled(world, "gpu", slots=2)
        clients = [LeaseClient.kubernetes(pod=pod, node=node, namespace=world.namespace, kubeconfig=cluster.kubeconfig) for pod in pods]
        try:
            claims = [asyncio.create_task(client.acquire("gpu")) for client in clients]
            await held(2)
            await world.set_limit("gpu", slots=4)
            await held(4)
            await world.set_limit("gpu", slots=1)
            await settled(world, "gpu", slots=1, held=4, waiting=1)
            holdings = [claim.result() for claim in claims if claim.done()]
            assert len(holdings) == 4
            for holding in holdings[:3]:
                await holding.release()
            await held(1)
            assert sum(claim.done() for claim in claims) == 4, "the limit drains before it grants"
            await world.set_limit("gpu", slots=1, active=False)
            await settled(world, "gpu", held=1, waiting=1)
            await holdings[3].release()
            await held(0)
            await world.set_limit("gpu", slots=1, active=True)
            await held(1)
            async with asyncio.timeout(10):
                assert all(holding.valid for holding in await asyncio.gather(*claims) if holding not in holdings)
        finally:
            for client in clients:
                await asyncio.to_thread(client.close)
            gc.collect()


@pytest.mark.parametrize("end", ["", "Failed"], ids=["deleted", "failed"])
async def test_a_dead_pods_slot_is_passed_on_at_once(world: Cluster, end: str, record_property: RecordProperty) -> None:
    node = await world.add_node(0)
    seconds = []
    async with operator(world.namespace) as running:
        await world.set_limit("gpu", slots=1)
        await settled(world, "gpu", slots=1)
        for number in range(20):
            for name in (f"dead-{number}", f"next-{number}"):
                await world.request("gpu", node, await world.add_pod(name, node))
            await world.end_pod(f"dead-{number}", end)

            async def passed_on(successor: str = f"{world.namespace}/next-{number}") -> bool:
                return [holder.pod for holder in (await world.state("gpu", node)).holders] == [successor]

            await until(passed_on, "the next pod holds the slot")
            await world.end_pod(f"next-{number}", end)

            async def empty() -> bool:
                return (await world.state("gpu", node)).held == 0

            await until(empty, "nobody holds the slot")
            seconds.append(from_event_to_write(running, f"dead-{number}", end))
    record_property("reap_seconds_p50", statistics.median(seconds))
    record_property("reap_seconds_max", max(seconds))
    print(f"from the pod's event to the Lease's: p50 {1000 * statistics.median(seconds):.1f} ms, max {1000 * max(seconds):.1f} ms")  # noqa: T201
    assert statistics.median(seconds) < 0.5


async def test_the_command_frees_a_dead_pods_slot(world: Cluster, cluster: ControlPlane, record_property: RecordProperty) -> None:
    node = await world.add_node(0)
    program = str(Path(sys.executable).with_name("imagejob-operator"))
    command = [program, "--namespace", world.namespace, "--host", "127.0.0.1", "--port", "0", "--status-seconds", "1"]
    seconds = []
    with running_command(cluster, command):
        await world.set_limit("gpu", slots=1)
        await settled(world, "gpu", slots=1)
        for number in range(10):
            for name in (f"dead-{number}", f"next-{number}"):
                await world.request("gpu", node, await world.add_pod(name, node))
            await world.end_pod(f"dead-{number}")

            async def passed_on(successor: str = f"{world.namespace}/next-{number}") -> bool:
                return [holder.pod for holder in (await world.state("gpu", node)).holders] == [successor]

            seconds.append(await until(passed_on, "the next pod holds the slot"))
            await world.end_pod(f"next-{number}")

            async def empty() -> bool:
                return (await world.state("gpu", node)).held == 0

            await until(empty, "nobody holds the slot")
    record_property("reap_by_command_seconds_p50", statistics.median(seconds))
    print(f"from a pod's deletion to the next holder: p50 {1000 * statistics.median(seconds):.0f} ms, max {1000 * max(seconds):.0f} ms")  # noqa: T201
    assert statistics.median(seconds) < 1


@contextmanager
def running_command(cluster: ControlPlane, command: list[str]) -> Iterator[None]:
    """The operator as a process."""
    child = cluster.run("imagejob-operator", command)
    try:
        yield
    finally:
        child.process.terminate()
        child.process.wait(timeout=60)


def from_event_to_write(running: Operator, pod: str, end: str) -> float:
    """From the moment when the operator was told of a pod's end to that when it was told of its own write."""
    ended = next(
        at
        for at, kind, event_type, thing in running.reports
        if kind == "Pod" and thing["metadata"]["name"] == pod and (thing["status"]["phase"] == end if end else event_type == "DELETED")
    )
    name = f"/{pod}"
    return next(
        at - ended
        for at, kind, _, thing in running.reports
        if at > ended
        and kind == "Lease"
        and name not in json.dumps(thing["metadata"]["annotations"]) + thing["spec"].get("holderIdentity", "")
    )


async def test_a_lease_goes_with_its_node(world: Cluster) -> None:
    node = await world.add_node(0)
    async with operator(world.namespace) as running:
        await world.set_limit("gpu", slots=1)
        await settled(world, "gpu", nodes=1)
        await world.request("gpu", node, await world.add_pod("holder", node))
        await settled(world, "gpu", held=1)
        before = running.writes.copy()
        await world.api.delete(NODE, node)

        async def gone() -> bool:
            return await world.lease("gpu", node) is None

        await until(gone, "the garbage collector takes the Lease")
        await settled(world, "gpu", nodes=0)
        assert all(path.endswith("/status") or method != "DELETE" for method, path in running.writes[len(before) :])


async def test_malformed_leases_at_the_start_hold_up_nobody(world: Cluster) -> None:
    nodes = [await world.add_node(number) for number in range(4)]
    for number, spoilt in enumerate(({"imagejob.dev/holders": "{"}, {"imagejob.dev/queue": "{"}, {"imagejob.dev/slots": "a few"})):
        uid = (await world.api.get(NODE, nodes[number]))["metadata"]["uid"]
        state = transitions.request(LeaseState(1), Waiter("a", await world.add_pod(f"pod-{number}", nodes[number])))
        lease = new_lease("gpu", nodes[number], node_uid=uid, namespace=world.namespace, state=state)
        lease["metadata"]["annotations"] |= spoilt
        await world.api.create(LEASE, lease)
    async with operator(world.namespace):
        await world.set_limit("gpu", slots=2)

        async def mended() -> bool:
            leases = [await world.lease("gpu", node) for node in nodes[1:]]
            return all(lease is not None and lease["metadata"]["annotations"]["imagejob.dev/slots"] == "2" for lease in leases)

        assert await until(mended, "all Leases whose holders are known") < 30
        assert [(await world.state("gpu", node)).held for node in nodes[1:]] == [1, 1, 0], "nobody loses a slot"
        spoilt = await world.lease("gpu", nodes[0])
        assert spoilt is not None
        assert spoilt["metadata"]["annotations"]["imagejob.dev/holders"] == "{", "whoever holds it has a whole lease duration"

        async def explained() -> bool:
            selector = "involvedObject.kind=NodeLimit,involvedObject.name=gpu,reason=MalformedLease"
            events = await world.api.list(EVENT, "default", field_selector=selector)
            return any(nodes[0] in event["message"] for event in events)

        await until(explained, "an event says so")


async def test_a_thousand_nodes(world: Cluster, record_property: RecordProperty) -> None:
    await asyncio.gather(*(world.add_node(number) for number in range(MANY_NODES)))
    node = world.node_name(500)
    async with operator(world.namespace) as running:
        started = time.monotonic()
        await world.set_limit("gpu", slots=2)
        await settled(world, "gpu", nodes=MANY_NODES, slots=2 * MANY_NODES)
        record_property("thousand_leases_seconds", time.monotonic() - started)
        print(f"{MANY_NODES} Leases after {time.monotonic() - started:.1f} s")  # noqa: T201
        assert len([path for method, path in running.writes if path.endswith("/leases")]) == MANY_NODES
        await world.request("gpu", node, await world.add_pod("dead", node))
        await settled(world, "gpu", held=1)
        before = len(running.requests)
        await world.end_pod("dead")
        await settled(world, "gpu", held=0)
        asked = [(method, path.rsplit("/", 2)[-2:]) for method, path in running.requests[before:]]
        assert asked == [
            ("GET", ["pods", "dead"]),
            ("PUT", ["leases", node]),
            ("PATCH", ["gpu", "status"]),
        ], "a pod's end costs the same however many nodes there are"
    async with operator(world.namespace) as another:
        await another.limits.reconcile(("NodeLimit", "gpu"))
        await another.limits.reconcile(("Lease", node, "gpu"))
        await until(lambda: _idle(another), "nothing is left to do")
        assert another.writes == [], "a restart over unchanged objects writes nothing"
        lease = await world.lease("gpu", node)
        assert lease is not None
        await world.api.replace(LEASE, merged(lease, read_lease(lease, "gpu", node).state))


async def _idle(running: Operator) -> bool:
    return running.queue.depth == 0

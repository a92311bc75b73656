# ruff: noqa: S311  simulations want randomness that a seed repeats
"""Random lives of pods, limits and nodes, told to the operator late and out of order, with crashes of it: what must hold all the while."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from imagejob_operator.kubernetes.kinds import LEASE, NODE, NODE_LIMIT, POD
from nodelease import LeaseState, Waiter, transitions
from nodelease.kubernetes.objects import merged, read_lease
from tests.unit.operator.limits.objects import NAMESPACE, node, node_limit, pod
from tests.unit.operator.limits.server import CrashError, Operator, Server

NODES: Final = ("node-1", "node-2")


class World:
    """A cluster in which things happen, and an observer of every version of every Lease."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.server = Server()
        self.alive: dict[str, tuple[str, int]] = {}
        """By name of the pod: its node, and which pod of that name it is."""
        self.requests: dict[str, tuple[str, int]] = {}
        """By id: whose it is."""
        self.number = 0
        self.generation = 1
        self.unrest = 0.3
        """How often something happens while a request is on its way."""
        self.seen: dict[str, LeaseState] = {}
        self.fences: dict[str, int] = {}
        """By node: the highest fence that any Lease of it ever had."""
        self.server.put(NODE_LIMIT, node_limit(slots=2, active=True, nodeSelector={"gpu": "yes"}))
        for name in NODES:
            self.server.put(NODE, node(name, labels={"gpu": "yes"}))
        self.operator = Operator(self.server)
        self.server.meanwhile = self.meanwhile

    def leases(self) -> dict[str, LeaseState]:
        found = {name: self.server.get(LEASE, name, NAMESPACE) for name in NODES}
        return {name: read_lease(lease, "gpu", name).state for name, lease in found.items() if lease is not None}

    def observe(self) -> None:
        """Between any two versions of a Lease."""
        now = self.leases()
        for name, after in now.items():
            before = self.seen.get(name)
            old = {(holder.id, holder.fence) for holder in before.holders} if before else set()
            new = [holder for holder in after.holders if (holder.id, holder.fence) not in old]
            assert not new or after.held <= after.capacity, "nothing is granted beyond the slots"
            assert len({slot for holder in after.holders for slot in holder.slots}) == after.held, "a slot has one holder"
            assert after.transitions >= self.fences.get(name, 0), "the fence grows, also where a Lease is made again"
            self.fences[name] = after.transitions
            if before is not None:
                assert [holder.fence for holder in new] == sorted(holder.fence for holder in new)
                lost = {entry.id for entry in (*before.holders, *before.queue)} - after.ids
                assert not any(self.lives(request) for request in lost), "no living pod loses its place"
        for name in self.seen.keys() - now.keys():
            assert not any(self.lives(holder.id) for holder in self.seen[name].holders), "nobody is forgotten"
        self.seen = now

    def lives(self, request: str) -> bool:
        """Whether the very pod that asked is still there."""
        name, number = self.requests[request]
        return name in self.alive and self.alive[name][1] == number

    # What happens.

    def start_pod(self) -> None:
        self.number += 1
        name = f"pod-{self.rng.randint(1, 6)}"  # names come again
        if name in self.alive or self.server.get(POD, name, "team-a"):
            return
        self.alive[name] = (self.rng.choice(NODES), self.number)
        self.server.put(POD, {**pod(name, member=self.rng.random() < 0.8)})

    def request(self) -> None:
        if not self.alive:
            return
        name = self.rng.choice(sorted(self.alive))
        node_name, number = self.alive[name]
        lease = self.server.get(LEASE, node_name, NAMESPACE)
        if lease is None:
            return
        self.number += 1
        request = f"{name}.{self.number}"
        self.requests[request] = (name, number)
        before = read_lease(lease, "gpu", node_name).state
        waiter = Waiter(request, f"team-a/{name}", self.rng.choice([0, 0, 5]), self.rng.choice([1, 1, 2]))
        self.server.put(LEASE, merged(lease, transitions.request(before, waiter)))

    def end_pod(self) -> None:
        if not self.alive:
            return
        name = self.rng.choice(sorted(self.alive))
        del self.alive[name]
        if self.rng.random() < 0.5:
            self.server.remove((POD.plural, "team-a", name))
        else:
            found = self.server.get(POD, name, "team-a")
            assert found is not None
            self.server.put(POD, {**found, "status": {"phase": "Failed"}})

    def clean_up_pods(self) -> None:
        for key in [key for key, thing in self.server.objects.items() if key[0] == "pods" and thing["status"]["phase"] == "Failed"]:
            self.server.remove(key)

    def change_limit(self) -> None:
        self.generation += 1
        if self.server.get(NODE_LIMIT, "gpu") and self.rng.random() < 0.2:
            self.server.remove((NODE_LIMIT.plural, "", "gpu"))
            return
        selector = {"gpu": self.rng.choice(["yes", "yes", "no"])}
        active = self.rng.random() < 0.8
        self.server.put(
            NODE_LIMIT, node_limit(generation=self.generation, slots=self.rng.randint(0, 4), active=active, nodeSelector=selector)
        )

    def relabel_node(self) -> None:
        name = self.rng.choice(NODES)
        self.server.put(NODE, node(name, labels={"gpu": self.rng.choice(["yes", "yes", "no"])}))

    def tell(self) -> None:
        if self.server.events:
            self.operator.deliver_one(self.rng.choice(sorted(self.server.events)))

    async def reconcile(self) -> None:
        if self.operator.queue:
            await self.operator.work_one(self.rng.choice(sorted(self.operator.queue)))

    async def crash(self) -> None:
        """The process ends before one of its next writes, and another takes its place."""
        self.server.crash_after_writes = len(self.server.writes) + self.rng.randint(0, 2)
        try:
            await self.operator.settle()
        except CrashError:
            pass
        finally:
            self.server.crash_after_writes = None
            self.operator = Operator(self.server)

    def happen(self) -> None:
        happenings = (self.start_pod, self.request, self.request, self.end_pod, self.clean_up_pods, self.change_limit, self.relabel_node)
        self.rng.choice(happenings)()
        self.observe()

    def meanwhile(self) -> None:
        """While a request of the operator is on its way."""
        self.observe()
        if self.rng.random() < self.unrest:
            self.happen()
            self.tell()

    async def step(self) -> None:
        what = self.rng.random()
        if what < 0.45:
            self.happen()
        elif what < 0.7:
            self.tell()
        elif what < 0.98:
            await self.reconcile()
        else:
            await self.crash()
        self.observe()

    # What it comes to.

    async def rest(self) -> None:
        """Everything is told and done, also what comes later by itself."""
        self.unrest = 0.0
        await self.operator.settle()
        for key in list(self.operator.again):
            if key[0] == "Lease":
                self.operator.limits._pods._asked.clear()
                self.operator.queue[key] = None
        await self.operator.settle()
        self.observe()

    def check_end(self) -> None:
        limit = self.server.get(NODE_LIMIT, "gpu")
        leases = self.leases()
        for name in NODES:
            thing = self.server.get(NODE, name)
            assert thing is not None
            wanted = limit is not None and limit["spec"]["nodeSelector"].items() <= thing["metadata"]["labels"].items()
            lease = leases.get(name)
            assert (lease is not None) or not wanted
            if lease is None:
                continue
            assert {entry.pod.removeprefix("team-a/") for entry in (*lease.holders, *lease.queue)} <= set(self.alive), "the dead are gone"
            if wanted and limit is not None:
                assert (lease.slots, lease.active) == (limit["spec"]["slots"], limit["spec"]["active"])
            else:
                assert not lease.active
                assert lease.holders, "only holders keep a Lease that is not wanted"
            head = next(filter(lease.grantable, lease.queue), None)
            assert head is None or len(lease.free) < head.slots, "no slot is free that the first in the queue could have"


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 120))
def test_nobody_is_over_granted_or_forgotten_and_all_converges(seed: int, steps: int) -> None:
    async def scenario() -> None:
        world = World(seed)
        for _ in range(steps):
            await world.step()
        await world.rest()
        world.check_end()
        before = list(world.server.writes)
        world.operator = Operator(world.server)
        await world.rest()
        after = [request for request in world.server.writes[len(before) :] if not request[1].endswith("/status")]
        assert after == [], "a restart writes nothing"

    asyncio.run(scenario())


async def test_the_operator_killed_after_any_of_its_writes_comes_to_the_same() -> None:
    whole, writes = await life_of_a_lease(crash_after=None)
    assert writes > 8
    for crash_after in range(writes):
        assert (await life_of_a_lease(crash_after))[0] == whole, f"after {crash_after} writes"


async def life_of_a_lease(crash_after: int | None) -> tuple[dict[str, LeaseState], int]:
    """What the Leases say at the end, and how many writes that took."""
    server = Server()
    server.crash_after_writes = crash_after

    def requests() -> None:
        lease = server.get(LEASE, "node-1", NAMESPACE)
        assert lease is not None
        queue = LeaseState(1)
        for name in ("a", "b", "c"):
            server.put(POD, pod(name))
            queue = transitions.request(queue, Waiter(name, f"team-a/{name}"))
        server.put(LEASE, merged(lease, queue))

    def spoils() -> None:
        lease = server.get(LEASE, "node-1", NAMESPACE)
        assert lease is not None
        server.put(LEASE, {**lease, "metadata": {**lease["metadata"], "labels": {}}})

    acts: list[Callable[[], object]] = [
        *(partial(server.put, NODE, node(name)) for name in NODES),
        lambda: server.put(NODE_LIMIT, node_limit(slots=1)),
        requests,
        lambda: server.put(NODE_LIMIT, node_limit(generation=2, slots=2)),
        lambda: server.put(POD, pod("a", "Failed")),
        spoils,
        lambda: server.put(NODE_LIMIT, node_limit(generation=3, slots=2, nodeSelector={"gpu": "yes"})),
        lambda: server.remove((POD.plural, "team-a", "b")),
        lambda: server.put(NODE, node("node-2", labels={"gpu": "yes"})),
    ]
    operator = Operator(server)
    for act in acts:
        act()
        while True:
            try:
                await operator.settle()
            except CrashError:
                server.crash_after_writes = None
                operator = Operator(server)
            else:
                break
    found = {name: server.get(LEASE, name, NAMESPACE) for name in NODES}
    states = {name: read_lease(lease, "gpu", name).state for name, lease in found.items() if lease is not None}
    return {name: timeless(state) for name, state in states.items()}, len(server.writes)


def timeless(state: LeaseState) -> LeaseState:
    holders = tuple(replace(holder, granted=None) for holder in state.holders)
    return replace(state, holders=holders, transitions=state.grants, epoch=0, acquire_time=None, renew_time=None)

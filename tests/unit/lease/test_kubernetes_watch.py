"""The watch of the Kubernetes store: what it reports, and how it goes on when it breaks."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest

from nodelease import transitions
from nodelease.clock import now
from nodelease.codec import stamp
from nodelease.kubernetes import api as api_module
from nodelease.kubernetes import constants
from nodelease.kubernetes.objects import merged
from nodelease.kubernetes.store import KubernetesStore
from nodelease.state import LeaseState, Waiter
from nodelease.store import Observation
from tests.tools.lease_judge import LeaseJudge
from tests.unit.lease.api_server import LIMIT, NAMESPACE, NODE, ApiServer, Door, Fault, once
from tests.unit.lease.simulated import Member, Resource, work

FREE = LeaseState(slots=1)
OLD = replace(FREE, transitions=7)
MISSING = "limit 'gpu' does not exist on node 'worker'"


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer().serve() as server:
        yield server


class Reports:
    """Takes the observations one by one, in time."""

    def __init__(self, observations: AsyncIterator[Observation]) -> None:
        self.observations = observations

    async def next(self) -> Observation:
        return await asyncio.wait_for(anext(self.observations), 10)

    async def state(self) -> LeaseState:
        observation = await self.next()
        assert observation.snapshot is not None, observation.problem
        return observation.snapshot.state

    async def problem(self) -> str:
        observation = await self.next()
        assert observation.snapshot is None
        return observation.problem


@asynccontextmanager
async def watching(server: ApiServer) -> AsyncIterator[Reports]:
    store = KubernetesStore(Door(server), NAMESPACE, NODE)
    async with aclosing(store.watch(LIMIT)) as observations:
        yield Reports(observations)
    await store.close()


def grant(server: ApiServer, name: str = "a", by: LeaseState | None = None) -> LeaseState:
    """Somebody takes a slot now."""
    before = by or FREE
    state = stamp(before, transitions.request(before, Waiter(f"{name}-1", f"ns/{name}")), now())
    assert server.lease is not None
    server.change(merged(server.lease, state))
    return state


async def test_the_state_and_what_follows(server: ApiServer) -> None:
    server.make(FREE)
    async with watching(server) as reports:
        assert await reports.state() == FREE
        state = grant(server)
        assert await reports.state() == state
    assert [method for method, _ in server.requests] == ["WATCH", "GET"], "the watch is open before the state is read"
    assert server.requests[0][1]["fieldSelector"] == "metadata.name=worker"
    assert 240 <= int(server.requests[0][1]["timeoutSeconds"]) <= 300


async def test_it_resumes_where_it_was(server: ApiServer) -> None:
    server.make(FREE)
    async with watching(server) as reports:
        await reports.state()
        server.break_watches()
        state = grant(server)
        assert await reports.state() == state
        assert server.requests[-1][0] == "WATCH"
        assert server.requests[-1][1]["resourceVersion"] == "101"
    assert server.count("GET") == 1


async def test_it_resumes_from_a_bookmark(server: ApiServer) -> None:
    server.make(FREE)
    async with watching(server) as reports:
        await reports.state()
        server.report("BOOKMARK", {"kind": "Lease", "metadata": {"resourceVersion": "170"}})
        server.break_watches()
        server.version = 170
        state = grant(server)
        assert await reports.state() == state
    assert server.requests[-1][1]["resourceVersion"] == "170"


@pytest.mark.parametrize("how", ["status", "event"])
async def test_it_begins_anew_where_the_server_has_forgotten(server: ApiServer, how: str) -> None:
    server.make(FREE)
    async with watching(server) as reports:
        await reports.state()
        if how == "status":
            server.forget()
            server.break_watches()
        else:
            server.report("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"})
        state = grant(server)
        assert await reports.state() == state
        later = grant(server, "b", state)
        assert await reports.state() == later
    assert server.count("GET") == 2


async def test_a_lease_that_comes_and_goes(server: ApiServer) -> None:
    async with watching(server) as reports:
        assert MISSING in await reports.problem()
        server.make(OLD)
        assert await reports.state() == OLD
        server.delete()
        assert MISSING in await reports.problem()
        server.make(FREE)
        assert await reports.state() == FREE
        state = grant(server)
        assert await reports.state() == state


async def test_a_lease_that_is_malformed_for_a_time(server: ApiServer) -> None:
    server.make(FREE)
    assert server.lease is not None
    spoilt = {**server.lease, "metadata": server.lease["metadata"] | {"annotations": {"imagejob.dev/slots": "many"}}}
    server.change(spoilt)
    async with watching(server) as reports:
        assert "annotation imagejob.dev/slots must be a whole number" in await reports.problem()
        server.make(FREE)
        while (observation := await reports.next()).snapshot is None:
            assert "imagejob.dev/slots" in observation.problem
        assert server.lease is not None
        server.change(server.lease | {"metadata": server.lease["metadata"] | {"labels": {}}})
        assert "label imagejob.dev/limit must be 'gpu'" in await reports.problem()


async def test_a_break_while_the_lease_is_malformed_is_no_news_that_it_is_gone(server: ApiServer) -> None:
    server.make(FREE)
    assert server.lease is not None
    server.change({**server.lease, "metadata": server.lease["metadata"] | {"annotations": {"imagejob.dev/slots": "many"}}})
    async with watching(server) as reports:
        assert (await reports.next()).unreadable
        server.faults = once("WATCH", Fault(500))
        server.break_watches()
        while "500" not in (observation := await reports.next()).problem:
            assert observation.unreadable
        assert observation.unreadable, "those who hold may find themselves in it when it is mended"
        server.delete()
        while MISSING not in (observation := await reports.next()).problem:
            assert observation.unreadable
        assert not observation.unreadable


async def test_why_there_is_nothing_is_told_until_there_is_something(server: ApiServer) -> None:
    server.faults = once("WATCH", Fault(403, body='{"message": "leases is forbidden"}'), times=2)
    server.make(FREE)
    async with watching(server) as reports:
        for _ in range(2):
            assert "403: leases is forbidden. Those who take slots" in await reports.problem()
        assert await reports.state() == FREE
        server.faults = once("WATCH", Fault(500), times=3)
        server.break_watches()
        state = grant(server)
        assert await reports.state() == state, "who holds a slot loses nothing by a server that fails for a while"
    assert server.count("WATCH") == 7


async def test_data_from_a_copy_are_told_from_news(server: ApiServer) -> None:
    server.make(FREE)
    state = grant(server)
    async with watching(server) as reports:
        assert await reports.state() == state
        server.forget()
        server.break_watches()
        assert server.lease is not None
        server.lease = merged(server.lease, FREE) | {"metadata": server.lease["metadata"] | {"resourceVersion": "7"}}
        server.lease = merged(server.lease, FREE)
        assert "restored from a copy" in await reports.problem()
        assert await reports.state() == FREE


async def test_a_silent_stream_is_given_up(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "_STREAM", aiohttp.ClientTimeout(total=None, sock_read=0.2))
    server.make(FREE)
    async with watching(server) as reports:
        await reports.state()
        server.faults = once("WATCH", Fault(never=True))
        server.break_watches()
        state = grant(server)
        assert await reports.state() == state
    assert server.count("WATCH") == 3


async def test_it_does_not_storm_a_server_that_ends_every_watch(server: ApiServer) -> None:
    server.faults = lambda method: Fault() if method == "WATCH" else None
    async with watching(server) as reports:
        begun = now()
        while now() - begun < 1:
            await reports.problem()
    assert server.count("WATCH") < 30, "hundreds, without a pause"


async def disturb(server: ApiServer, rng: random.Random) -> None:
    while True:
        await asyncio.sleep(rng.random() * 0.05)
        if rng.random() < 0.3:
            server.remembers_since = server.version
        server.break_watches()


@pytest.mark.parametrize("seed", range(12))
async def test_all_get_their_turn_whatever_the_server_does(server: ApiServer, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sessions of `simulated` over this store: lost answers, refused tokens, broken watches, versions that were forgotten."""
    monkeypatch.setattr(constants, "WATCH_RETRY_LAST_SECONDS", 0.1)
    monkeypatch.setattr("nodelease.writer.RETRY_LAST_SECONDS", 0.1)
    rng = random.Random(seed)  # noqa: S311  a seed repeats it
    usual = [Fault(500), Fault(503), Fault(409), Fault(401), Fault(), Fault(done=True), Fault(504, done=True)]
    server.faults = lambda _method: rng.choice(usual) if rng.random() < 0.15 else None
    server.make(LeaseState(slots=2, duration_seconds=60))
    resource = Resource(2)
    members = [Member(KubernetesStore(Door(server), NAMESPACE, NODE), f"p{number}") for number in range(5)]
    working = [work(member, resource, random.Random(rng.random()), 6) for member in members]  # noqa: S311
    disturbing = asyncio.ensure_future(disturb(server, rng))
    async with asyncio.timeout(60):
        await asyncio.gather(*working)
    disturbing.cancel()
    await asyncio.gather(disturbing, return_exceptions=True)
    server.faults = lambda _method: None
    for member in members:
        await member.session.close(5)
        await member.store.close()
    assert not resource.overused
    judge = LeaseJudge(unqueued_priority=None)
    for kind, lease in server.history:
        assert kind in {"ADDED", "MODIFIED"}
        judge.revision(lease)
    assert judge.problems == []
    assert judge.tracks[NODE].state.ids == set(), "nothing is left behind"
    assert judge.tracks[NODE].state.transitions >= 5 * 6

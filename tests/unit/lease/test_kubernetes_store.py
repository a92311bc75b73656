"""Requests of the Kubernetes store, and what an API server can do to them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from nodelease import ConflictError, InvalidRequestError, LimitNotFoundError, StoreUnavailableError, transitions
from nodelease.clock import now
from nodelease.kubernetes import api as api_module
from nodelease.kubernetes.access import KubeconfigAccess, PodAccess, find_access
from nodelease.kubernetes.objects import merged, read_lease
from nodelease.kubernetes.store import KubernetesStore
from nodelease.state import LeaseState, Waiter
from tests.unit.lease.api_server import LIMIT, NAMESPACE, NODE, ApiServer, Door, Fault, Pod, once

FREE = LeaseState(slots=1)
TAKEN = transitions.request(FREE, Waiter("a-1", "ns/a"))
FORBIDDEN = Fault(403, body='{"message": "leases is forbidden: User cannot get"}')


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer().serve() as server:
        yield server


@pytest.fixture
def door(server: ApiServer) -> Door:
    return Door(server)


@pytest.fixture
async def store(door: Door) -> AsyncIterator[KubernetesStore]:
    store = KubernetesStore(door, NAMESPACE, NODE)
    yield store
    await store.close()


async def test_it_reads_and_replaces(server: ApiServer, store: KubernetesStore) -> None:
    server.make(FREE, finalizers=["example.com/f"])
    found = await store.read(LIMIT)
    assert found.state == FREE
    written = await store.replace(LIMIT, TAKEN, found.version)
    assert written.state == TAKEN
    assert store.order(written.version) > store.order(found.version)
    assert server.lease is not None
    assert read_lease(server.lease, LIMIT, NODE) == written
    assert server.lease["metadata"]["finalizers"] == ["example.com/f"]
    assert server.lease["metadata"]["managedFields"] == [{"manager": "nodelease"}]
    assert server.count("GET") == 1, "what was read or written last is not read again"
    await store.replace(LIMIT, FREE, written.version)
    assert server.count("GET") == 1


async def test_limits_are_those_of_the_node(server: ApiServer, store: KubernetesStore) -> None:
    assert await store.limits() == []
    server.make(FREE)
    assert await store.limits() == ["gpu"]
    assert [method for method, _ in server.requests] == ["WATCH", "WATCH"], "to list takes a right that runners do not have"
    assert server.requests[0][1]["labelSelector"] == "imagejob.dev/node=worker"
    server.faults = once("WATCH", Fault(200, body=""))
    with pytest.raises(StoreUnavailableError, match="ended a watch"):
        await store.limits()


async def test_nobody_makes_a_limit(server: ApiServer, store: KubernetesStore) -> None:
    with pytest.raises(InvalidRequestError, match="in a cluster a NodeLimit object makes and changes it"):
        await store.create(LIMIT, FREE)
    assert not server.requests


async def test_another_was_first(server: ApiServer, store: KubernetesStore) -> None:
    server.make(FREE)
    found = await store.read(LIMIT)
    assert server.lease is not None
    server.change(server.lease)
    with pytest.raises(ConflictError, match="the object has been modified"):
        await store.replace(LIMIT, TAKEN, found.version)
    newest = await store.read(LIMIT)
    with pytest.raises(ConflictError) as raised:
        await store.replace(LIMIT, TAKEN, found.version)
    assert raised.value.current == newest
    assert server.count("PUT") == 1, "a write that must fail is not sent"


async def test_what_won_is_known_from_the_watch(server: ApiServer, store: KubernetesStore) -> None:
    server.make(FREE)
    found = await store.read(LIMIT)

    def overtaken(method: str) -> None:
        if method == "PUT":
            assert server.lease is not None
            server.change(merged(server.lease, TAKEN))
            store._remember(LIMIT, server.lease)  # as the watch does

    server.faults = overtaken
    with pytest.raises(ConflictError) as raised:
        await store.replace(LIMIT, replace(FREE, slots=2), found.version)
    assert raised.value.current is not None
    assert raised.value.current.state == TAKEN


async def test_a_lease_that_is_not_there(server: ApiServer, store: KubernetesStore) -> None:
    message = "limit 'gpu' does not exist on node 'worker': namespace 'leases' has no Lease 'worker'. A NodeLimit 'gpu'"
    with pytest.raises(LimitNotFoundError, match=message):
        await store.read(LIMIT)
    server.make(FREE)
    found = await store.read(LIMIT)
    server.delete()
    with pytest.raises(LimitNotFoundError, match=message):
        await store.replace(LIMIT, TAKEN, found.version)


async def test_one_without_rights_is_told_which(server: ApiServer, store: KubernetesStore) -> None:
    server.faults = once("GET", FORBIDDEN)
    with pytest.raises(
        StoreUnavailableError,
        match=r"403: leases is forbidden: User cannot get\. Those who take slots on node 'worker' need the rights of Role imagejob-lease",
    ):
        await store.read(LIMIT)


@pytest.mark.parametrize("status", [422, 500, 502, 503, 504])
async def test_a_refusal_is_told_in_its_words(server: ApiServer, store: KubernetesStore, status: int) -> None:
    server.make(FREE)
    found = await store.read(LIMIT)
    server.faults = once("PUT", Fault(status))
    with pytest.raises(StoreUnavailableError, match=f"PUT .*leases/worker: {status}: as the test wants it"):
        await store.replace(LIMIT, TAKEN, found.version)


@pytest.mark.parametrize("body", ["<html>a proxy</html>", '"text"', ""])
async def test_what_is_no_api_server(server: ApiServer, store: KubernetesStore, body: str) -> None:
    server.faults = once("GET", Fault(200, body=body))
    with pytest.raises(StoreUnavailableError):
        await store.read(LIMIT)
    server.faults = once("GET", Fault(502, body=body))
    with pytest.raises(StoreUnavailableError, match="502"):
        await store.read(LIMIT)


@pytest.mark.parametrize("status", [429, 503])
async def test_it_comes_again_when_it_is_told_to(server: ApiServer, store: KubernetesStore, status: int) -> None:
    server.make(FREE)
    server.faults = once("GET", Fault(status, {"Retry-After": "1"}))
    begun = now()
    assert (await store.read(LIMIT)).state == FREE
    assert 1 <= now() - begun < 5
    assert server.count("GET") == 2


async def test_it_does_not_wait_for_ever(server: ApiServer, store: KubernetesStore) -> None:
    server.faults = once("GET", Fault(429, {"Retry-After": "1000"}))
    with pytest.raises(StoreUnavailableError, match="429"):
        await asyncio.wait_for(store.read(LIMIT), 5)


async def test_a_token_that_ran_out_is_read_again_once(server: ApiServer, door: Door, store: KubernetesStore) -> None:
    server.make(FREE)
    await store.read(LIMIT)
    server.token = "second"  # noqa: S105  no secret
    assert (await store.read(LIMIT)).state == FREE
    assert door.renewals == 1
    server.faults = lambda _method: Fault(401)
    with pytest.raises(StoreUnavailableError, match="401"):
        await store.read(LIMIT)
    assert door.renewals == 2


async def test_a_write_whose_answer_is_lost(server: ApiServer, store: KubernetesStore) -> None:
    server.make(FREE)
    found = await store.read(LIMIT)
    server.faults = once("PUT", Fault(done=True), times=2)
    with pytest.raises((StoreUnavailableError, ConflictError)):  # the client repeats it over a new connection: then it is a conflict
        await store.replace(LIMIT, TAKEN, found.version)
    assert (await store.read(LIMIT)).state == TAKEN


async def test_an_answer_that_does_not_come(server: ApiServer, store: KubernetesStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "_ONE", aiohttp.ClientTimeout(total=0.2))
    server.faults = once("GET", Fault(never=True))
    with pytest.raises(StoreUnavailableError, match="TimeoutError"):
        await store.read(LIMIT)


async def test_nobody_listens(store: KubernetesStore, door: Door) -> None:
    door.server.url = "http://127.0.0.1:1"
    with pytest.raises(StoreUnavailableError, match=r"http://127\.0\.0\.1:1: Cannot connect"):
        await store.read(LIMIT)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


async def test_a_pod_uses_its_service_account_and_reads_the_token_again(pod: Pod) -> None:
    async with ApiServer().serve(pod.server_trust) as server:
        store = KubernetesStore(pod.access(server), NAMESPACE, NODE)
        server.make(FREE)
        assert (await store.read(LIMIT)).state == FREE
        server.token = "second"  # noqa: S105  no secret
        with pytest.raises(StoreUnavailableError, match="401"):
            await store.read(LIMIT)
        (pod.folder / "token").write_text("second\n")
        assert (await store.read(LIMIT)).state == FREE
        await store.close()


async def test_a_token_is_read_again_in_time(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    access = PodAccess(pod.folder, {"KUBERNETES_SERVICE_HOST": "::1", "KUBERNETES_SERVICE_PORT": "443"})
    credentials = await access.credentials()
    assert (credentials.server, credentials.authorization) == ("https://[::1]:443", "Bearer first")
    (pod.folder / "token").write_text("second")
    assert (await access.credentials()).authorization == "Bearer first"
    monkeypatch.setattr("nodelease.kubernetes.access.TOKEN_SECONDS", 0.0)
    assert (await access.credentials()).authorization == "Bearer second"


async def test_a_new_authority_is_found(pod: Pod) -> None:
    async with ApiServer().serve(pod.server_trust) as old:
        store = KubernetesStore(access := pod.access(old), NAMESPACE, NODE)
        old.make(FREE)
        await store.read(LIMIT)
        async with ApiServer().serve(pod.certify()) as new:
            new.make(TAKEN)
            pod.move(access, new)
            assert (await store.read(LIMIT)).state == TAKEN
            await store.close()


async def test_a_stranger_is_not_trusted(pod: Pod) -> None:
    async with ApiServer().serve(pod.server_trust) as server:
        store = KubernetesStore(pod.access(server), NAMESPACE, NODE)
        pod.certify()
        with pytest.raises(StoreUnavailableError, match="is not whom it should be"):
            await store.read(LIMIT)
        await store.close()


async def test_not_in_a_pod(tmp_path: Path, pod: Pod) -> None:
    with pytest.raises(StoreUnavailableError, match="'KUBERNETES_SERVICE_HOST' is not set"):
        await PodAccess(pod.folder, {}).credentials()
    with pytest.raises(StoreUnavailableError, match="token"):
        await PodAccess(tmp_path / "nowhere", {}).credentials()
    assert isinstance(find_access(), KubeconfigAccess)
    with pytest.raises(StoreUnavailableError, match=r"the kubeconfig .*nowhere cannot be used"):
        await KubeconfigAccess(tmp_path / "nowhere").credentials()

"""Processes share a limit through a real API server: in order, never too many, at no cost for those who wait."""

import time
from collections.abc import Callable
from contextlib import aclosing

import pytest

from nodelease import AcquireTimeoutError, LimitNotFoundError, transitions
from nodelease.clock import now
from nodelease.kubernetes.access import KubeconfigAccess
from nodelease.kubernetes.store import KubernetesStore
from nodelease.kubernetes.watch import LeaseWatch
from tests.cluster.control_plane import ControlPlane
from tests.e2e.waiting import eventually
from tests.integration.lease.conftest import Limit, overlaps

pytestmark = pytest.mark.integration


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = now() + seconds
    while not condition():
        assert now() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


def test_a_slot_goes_from_process_to_process(limit: Limit) -> None:
    limit.make(slots=1)
    with limit.recorder() as recorder:
        one = limit.worker("hold")
        first = one.hear()
        two = limit.worker("hold")
        until(lambda: [waiter.pod for waiter in limit.state().queue] == ["tests/pod-1"])
        one.tell("release")
        second = two.hear()
        released = one.hear()
        assert (first["fence"], second["fence"]) == (1, 2)
        assert 0 < second["at"] - released["at"] < 2
        assert [holder.pod for holder in limit.state().holders] == ["tests/pod-1"]
        recorder.check(pods_known=False)


@pytest.mark.parametrize("slots", [1, 2])
def test_twenty_processes_take_turns(limit: Limit, slots: int) -> None:
    limit.make(slots)
    with limit.recorder() as recorder:
        workers = [limit.worker("turns", "5", "0.01") for _ in range(20)]
        lines = [line for worker in workers for line in worker.rest()]
        recorder.check(pods_known=False)
        revisions = recorder.revisions(limit.node)
        assert recorder.gaps == 0
    done = [line for line in lines if line["what"] == "done"]
    state = limit.state()
    assert len(done) == 20
    assert state.grants == 100, "each was granted a slot five times"
    assert state.ids == set(), "nothing is left behind"
    assert overlaps(lines, now()) == []
    assert revisions == 1 + sum(line["writes"] for line in done), "the recorder has missed none"


def test_who_waits_or_idles_writes_nothing(limit: Limit) -> None:
    limit.make(slots=1)
    with limit.recorder() as recorder:
        holding = limit.client("tests/holder").acquire_blocking("gpu")
        with pytest.raises(AcquireTimeoutError, match="place 1 of 1 in its queue"):
            limit.client("tests/waiter").acquire_blocking("gpu", timeout=3)
        eventually(lambda: recorder.revisions(limit.node), wanted=4)  # as made; granted; queued; withdrawn
        holding.release_blocking()
        assert recorder.revisions(limit.node) == 5


def test_the_limit_changes_while_it_is_used(limit: Limit) -> None:
    limit.make(slots=1)
    with limit.recorder() as recorder:
        workers = [limit.worker("turns", "12", "0.05") for _ in range(4)]
        lines = [worker.hear() for worker in workers]
        limit.change(lambda state: transitions.resize(state, slots=3))
        limit.change(lambda state: transitions.resize(state, active=False))
        limit.change(lambda state: transitions.resize(state, active=True, slots=1))
        lines += [line for worker in workers for line in worker.rest()]
        recorder.check(pods_known=False)
    assert limit.state().grants == 48
    assert overlaps(lines, now()) == []


def test_a_lease_that_is_deleted_and_made_again(limit: Limit) -> None:
    client = limit.client()
    with pytest.raises(LimitNotFoundError, match=f"namespace '{limit.namespace}' has no Lease '{limit.node}'"):
        client.acquire_blocking("gpu", timeout=1)
    limit.make(slots=1)
    holder = limit.worker("hold")
    assert holder.hear()["fence"] == 1
    limit.delete()
    eventually(lambda: (holder.tell("valid?"), holder.hear()["what"])[1], wanted="lost")
    waiting = limit.worker("hold")
    limit.make(slots=1)
    assert waiting.hear()["fence"] == 1
    assert limit.state().grants == 1


def test_a_lease_that_is_malformed_for_a_time(limit: Limit) -> None:
    limit.make(slots=1)
    limit.annotate("imagejob.dev/queue={")
    client = limit.client()
    with pytest.raises(LimitNotFoundError, match=r"annotation imagejob\.dev/queue must be JSON, and is '{'"):
        client.acquire_blocking("gpu", timeout=1)
    waiting = limit.worker("hold")
    limit.annotate("imagejob.dev/queue=[]")
    assert waiting.hear()["fence"] == 1


def test_the_rights_of_a_runner_are_enough(limit: Limit, control_plane: ControlPlane) -> None:
    limit.make(slots=1)
    kubeconfig = control_plane.kubeconfig_for(f"runner-of-{limit.namespace}")
    stranger = limit.client("tests/stranger", kubeconfig)
    with pytest.raises(
        LimitNotFoundError, match=r"403: leases.* is forbidden: User .runner-of-.*Those who take slots on node 'leases-node"
    ):
        stranger.acquire_blocking("gpu", timeout=2)
    verbs = ("--verb=get,watch,update", "--resource=leases", "-n", limit.namespace)
    control_plane.kubectl("create", "role", "lease-user", *verbs)
    user = f"--user=runner-of-{limit.namespace}"
    control_plane.kubectl("create", "rolebinding", "lease-user", "--role=lease-user", user, "-n", limit.namespace)
    runner = limit.client("tests/runner", kubeconfig)
    holding = runner.acquire_blocking("gpu", timeout=20)
    assert runner.limits() == ["gpu"]
    assert runner.status("gpu").holders[0].pod == "tests/runner"
    holding.release_blocking()
    assert limit.state().ids == set()


async def test_a_version_that_is_too_old_is_not_resumed_from(limit: Limit) -> None:
    limit.make(slots=1)
    store = KubernetesStore(KubeconfigAccess(limit.plane.kubeconfig), limit.namespace, limit.node)
    watch = LeaseWatch(store._api, store._target("gpu"))
    watch._resume_from = "1"
    async with aclosing(watch.observations()) as observations:
        observation = await anext(observations)
        assert observation.snapshot == await store.read("gpu")
    await store.close()

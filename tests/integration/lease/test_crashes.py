"""What is killed, cut off or replaced while slots are held and waited for: processes, the API server, tokens."""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodelease import LeaseClient
from nodelease.clock import now
from nodelease.kubernetes.access import PodAccess
from nodelease.kubernetes.store import KubernetesStore
from tests.cluster.control_plane import ControlPlane, Options, run_control_plane
from tests.e2e.waiting import eventually
from tests.integration.lease.conftest import Limit, new_limit, overlaps

pytestmark = pytest.mark.integration

DURATION = 2


@pytest.fixture(scope="module")
def own_plane() -> Iterator[ControlPlane]:
    """A control plane whose API server may be killed."""
    with run_control_plane(Options(controllers=False)) as plane:
        yield plane


@pytest.fixture
def own_limit(own_plane: ControlPlane) -> Iterator[Limit]:
    made = new_limit(own_plane)
    yield made
    made.close()


def test_a_killed_holder_is_expired_by_who_waits(limit: Limit) -> None:
    limit.make(slots=1, seconds=DURATION)
    with limit.recorder() as recorder:
        victim = limit.worker("hold")
        assert victim.hear()["fence"] == 1
        heir = limit.worker("hold")
        eventually(lambda: len(limit.state().queue), wanted=1)
        victim.process.kill()
        killed = now()
        taken = heir.hear()
        assert taken["fence"] == 2
        assert taken["at"] - killed < 1.5 * DURATION + 1, "a whole duration since it was seen to renew, and not much more"
        recorder.check(pods_known=False)


@pytest.mark.parametrize("seed", [1, 2])
def test_random_kills(limit: Limit, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  a seed repeats it
    limit.make(slots=2, seconds=DURATION)
    with limit.recorder() as recorder:
        workers = [limit.worker("turns", "15", "0.05") for _ in range(8)]
        lines = [worker.hear() for worker in workers]
        victims = rng.sample(workers, 3)
        for victim in victims:
            time.sleep(rng.random() * 0.4)  # the moment is the test
            victim.process.kill()
        killed_at = now()
        lines += [line for worker in workers for line in worker.rest()]
        recorder.check(pods_known=False)
    assert sum(line["what"] == "done" for line in lines) >= 5
    assert overlaps(lines, killed_at) == []
    assert {holder.pod for holder in limit.state().holders} <= {f"tests/pod-{workers.index(victim)}" for victim in victims}


@pytest.mark.parametrize("outage", [0.0, 3.0])
def test_the_api_server_is_killed_and_started_again(own_limit: Limit, own_plane: ControlPlane, outage: float) -> None:
    """Once for as long as it takes, once for longer than leases last: no slot is granted twice, and all get what they came for."""
    own_limit.make(slots=2, seconds=DURATION if outage else 30)
    with own_limit.recorder() as recorder:
        workers = [own_limit.worker("turns", "40", "0.05") for _ in range(6)]
        lines = [worker.hear() for worker in workers]
        own_plane.kill_apiserver()
        time.sleep(outage)  # the length is the test
        own_plane.start_apiserver()
        lines += [line for worker in workers for line in worker.rest()]
        recorder.check(pods_known=False)
    assert sum(line["what"] == "done" for line in lines) == 6
    assert overlaps(lines, now()) == []
    assert own_limit.state().ids == set()


def test_a_token_is_replaced_while_a_slot_is_held(own_limit: Limit, own_plane: ControlPlane, tmp_path: Path) -> None:
    own_limit.make(slots=1, seconds=DURATION)
    namespace = ("-n", own_limit.namespace)
    own_plane.kubectl("create", "role", "lease-user", "--verb=get,watch,update", "--resource=leases", *namespace)
    own_plane.kubectl("create", "rolebinding", "runner", "--role=lease-user", f"--serviceaccount={own_limit.namespace}:runner", *namespace)

    def new_token() -> str:
        own_plane.kubectl("create", "serviceaccount", "runner", *namespace)
        return own_plane.kubectl("create", "token", "runner", *namespace)

    (tmp_path / "token").write_text(new_token())
    (tmp_path / "ca.crt").write_bytes((own_plane.files.credentials / "ca.crt").read_bytes())
    host, port = own_plane.url.removeprefix("https://").split(":")
    access = PodAccess(tmp_path, {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port})
    with LeaseClient(lambda _prefix: KubernetesStore(access, own_limit.namespace, own_limit.node), "tests/runner") as client:
        holding = client.acquire_blocking("gpu", timeout=20)
        own_plane.kubectl("delete", "serviceaccount", "runner", *namespace)
        (tmp_path / "token").write_text(new_token())
        beat = own_limit.state().holders[0].beat
        eventually(lambda: own_limit.state().holders[0].beat > beat + 2, wanted=True)
        assert holding.valid
        assert (
            json.loads(own_plane.kubectl("get", "leases", *namespace, "-o", "json"))["items"][0]["spec"]["holderIdentity"] == "tests/runner"
        )
        holding.release_blocking()
    assert own_limit.state().ids == set()

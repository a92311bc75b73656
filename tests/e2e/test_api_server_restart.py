"""The API server dies and comes back while jobs run and slots change hands."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.release import Release
from tests.e2e import containers
from tests.e2e.team import Team, call, gpu
from tests.e2e.timeline import LeaseTimeline
from tests.e2e.waiting import eventually
from tests.tools.lease_recorder import LeaseRecorder

_IMAGES: Final = 160
_PODS: Final = 4
_SLOTS: Final = 2
_START_SECONDS: Final = 90


def api_server(cluster: Cluster) -> dict[str, Any]:
    """Its pod, as its kubelet tells."""
    (node,) = cluster.nodes("control-plane")
    found: dict[str, Any] = json.loads(cluster.kubectl("--namespace=kube-system", "get", f"pod/kube-apiserver-{node}", "--output=json"))
    return found


def restarts(cluster: Cluster) -> int:
    """How often the API server was started again."""
    (status,) = api_server(cluster)["status"]["containerStatuses"]
    return int(status["restartCount"]) if status["ready"] else 0


@pytest.fixture
def _recovered(cluster: Cluster, release: Release) -> Iterator[None]:
    """Everything that the API server's end has disturbed is well when the test is over."""
    yield
    eventually(lambda: cluster.kubectl("get", "--raw=/readyz"), "ok", seconds=_START_SECONDS)
    # Without an API server Kubernetes' own leaders end, and are started again.
    waiting = ("wait", "--for=condition=Ready", "pod", "--all", f"--timeout={_START_SECONDS}s")
    cluster.kubectl("--namespace=kube-system", *waiting, timeout=_START_SECONDS + 10)
    release.wait_until_ready()


@pytest.mark.usefixtures("_recovered")
def test_no_slot_is_granted_twice_and_everything_goes_on(cluster: Cluster, team: Team, recorder: LeaseRecorder, workers: list[str]) -> None:
    there = {"nodeSelector": {"kubernetes.io/hostname": workers[1]}}
    layout = {"chunkSize": 5, "shards": _PODS, "parallelism": _PODS}
    team.apply(team.image_job("through", [call("work", seconds=0.5, limits=[gpu("1s")])], images=_IMAGES, template=there, **layout))
    with LeaseTimeline(cluster, workers[1]) as lease:
        eventually(lambda: len(lease.now.holders) == _SLOTS and len(lease.now.queue) == _PODS - _SLOTS, wanted=True, seconds=120)
    pods, before = {pod["metadata"]["uid"] for pod in team.pods("through")}, restarts(cluster)

    recorder.gaps_allowed += 1
    containers.kill(cluster, api_server(cluster))
    eventually(lambda: restarts(cluster), before + 1, seconds=_START_SECONDS)
    done = team.done("through")
    recorder.check()
    eventually(lambda: team.done("through") > done, wanted=True, seconds=30)

    team.wait_until_finished("through")
    assert team.condition("through", "Finished")["reason"] == "Succeeded"
    assert {pod["metadata"]["uid"] for pod in team.pods("through")} == pods
    assert len(team.check_output("through")) == _IMAGES
    assert team.limit_figures("through").max_holders == _SLOTS

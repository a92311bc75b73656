"""A node is drained while jobs run: pods commit what is whole and end, and others go on elsewhere."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from imagejob_api.pod import LABEL_JOB, PodResult, RunnerExit
from tests.cluster.cluster import Cluster
from tests.e2e.team import Team, apart, call, gpu
from tests.e2e.timeline import Timeline

_IMAGES: Final = 60
_CHUNK: Final = 2
_PODS: Final = 4
_DRAIN_SECONDS: Final = 60


@pytest.fixture
def node(cluster: Cluster, workers: list[str]) -> Iterator[str]:
    """A worker to be drained, which takes pods again when the test is over."""
    yield workers[1]
    cluster.kubectl("uncordon", workers[1])


def ends(pods: Timeline, node: str) -> dict[str, dict[str, Any]]:
    """How the containers of the pods of a node ended, by the pod's name."""
    found = {}
    for _, pod in pods.seen:
        (state,) = (status["state"] for status in pod["status"].get("containerStatuses", [{"state": {}}]))
        if pod["spec"].get("nodeName") == node and "terminated" in state:
            found[pod["metadata"]["name"]] = state["terminated"]
    return found


def test_drained_pods_commit_and_the_job_ends_on_the_other_node(cluster: Cluster, team: Team, node: str) -> None:
    layout = {"chunkSize": _CHUNK, "shards": _PODS, "parallelism": _PODS}
    template = {"affinity": apart("moved")}
    with Timeline(cluster, f"--namespace={team.namespace}", "pods") as pods:
        team.apply(team.image_job("moved", [call("work", seconds=1, limits=[gpu("2s")])], images=_IMAGES, template=template, **layout))
        team.wait_until_working("moved", images=_IMAGES // 4)
        drained = {pod["metadata"]["name"] for pod in team.running("moved") if pod["spec"]["nodeName"] == node}
        assert len(drained) == _PODS // 2

        cluster.kubectl(
            "drain",
            node,
            f"--pod-selector={LABEL_JOB}=moved",  # those of other tests may still be going
            "--delete-emptydir-data",
            f"--timeout={_DRAIN_SECONDS}s",
            timeout=_DRAIN_SECONDS + 10,
        )
        assert all(pod["spec"]["nodeName"] != node for pod in team.running("moved"))
        team.wait_until_finished("moved")
        stopped = ends(pods, node)

    assert set(stopped) == drained
    assert {end["exitCode"] for end in stopped.values()} == {RunnerExit.STOPPED}
    rows = team.check_output("moved")
    assert len(rows) == _IMAGES
    for name, end in stopped.items():
        committed = [row for row in rows if row["outputs"]["work"]["pod"] == name]
        assert len(committed) == PodResult.model_validate_json(end["message"]).images.done > 0
    status = json.loads(team.kubectl("get", "job/moved", "--output=json"))["status"]
    assert (status["succeeded"], status.get("failed", 0)) == (_PODS, 0)
    assert team.condition("moved", "Finished")["reason"] == "Succeeded"

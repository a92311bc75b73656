"""An operator that is away: what runs goes on, what was missed is made up for, and deletion does not need it."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from imagejob_api.pod import ANNOTATION_PROGRESS, LABEL_JOB, PodProgress
from tests.cluster.cluster import Cluster
from tests.cluster.release import Release
from tests.e2e.team import Team, call, gpu
from tests.e2e.timeline import LeaseTimeline
from tests.e2e.waiting import eventually

_SLOTS: Final = 2
_AWAY_SECONDS: Final = 60
_REPORT_SECONDS: Final = 5
"""How old a pod's word on its progress may be."""
_MEANWHILE: Final = _SLOTS * (_AWAY_SECONDS + _REPORT_SECONDS)
"""Images, of a second each, that cannot be done in less than the time that the operator is to be away."""
_IMAGES: Final = _MEANWHILE + 40
_DELETE_SECONDS: Final = 2.0
_TIMES_BARE: Final = 3.0
"""It may take so many times as long as to delete what nothing belongs to, where that is slow: others use the machine."""


@pytest.fixture
def _back(release: Release) -> Iterator[None]:
    """The operator is there when the test is over."""
    yield
    release.scale(1)


def reported(team: Team, name: str) -> int:
    """Images done, by what the pods say of themselves."""
    reports = [pod["metadata"].get("annotations", {}).get(ANNOTATION_PROGRESS, "{}") for pod in team.pods(name)]
    return sum(PodProgress.model_validate_json(report).images.done for report in reports)


def owned(team: Team, name: str) -> list[str]:
    """What there is of a job in its namespace."""
    return team.kubectl("get", "jobs,pods,configmaps", f"--selector={LABEL_JOB}={name}", "--output=name").split()


def work_job(team: Team, name: str) -> dict[str, Any]:
    """The batch/v1 Job."""
    found: dict[str, Any] = json.loads(team.kubectl("get", f"job/{name}", "--output=json"))
    return found


def deleted(team: Team, what: str) -> float:
    """Seconds that `kubectl delete` takes, which returns when the object is gone."""
    asked = time.monotonic()
    team.kubectl("delete", what)
    return time.monotonic() - asked


@pytest.mark.usefixtures("_back")
def test_pods_go_on_without_the_operator_and_the_status_catches_up(
    cluster: Cluster, team: Team, release: Release, workers: list[str]
) -> None:
    shards = 4
    there = {"nodeSelector": {"kubernetes.io/hostname": workers[1]}}
    layout = {"chunkSize": 5, "shards": shards, "parallelism": shards}
    team.apply(team.image_job("left", [call("work", seconds=1, limits=[gpu("2s")])], images=_IMAGES, template=there, **layout))
    eventually(lambda: team.done("left") > 0, wanted=True, seconds=120)

    with LeaseTimeline(cluster, workers[1]) as lease:
        release.scale(0)
        left, told, grants = time.monotonic(), team.status("left"), lease.now.transitions
        done = reported(team, "left")
        eventually(lambda: reported(team, "left") >= done + _MEANWHILE, wanted=True, seconds=2 * _AWAY_SECONDS)
        assert time.monotonic() - left > _AWAY_SECONDS
        turns = lease.now.transitions - grants
        assert team.status("left") == told
        before, pods = work_job(team, "left"), {pod["metadata"]["uid"] for pod in team.pods("left")}
        release.scale(1)
    assert turns > _AWAY_SECONDS / 4
    eventually(lambda: team.done("left") >= done + _MEANWHILE, wanted=True, seconds=15)

    team.wait_until_finished("left")
    assert team.condition("left", "Finished")["reason"] == "Succeeded"
    assert team.status("left")["startTime"] == told["startTime"]
    assert work_job(team, "left")["metadata"]["uid"] == before["metadata"]["uid"]
    assert {pod["metadata"]["uid"] for pod in team.pods("left")} == pods
    assert len(pods) == shards
    assert len(team.check_output("left")) == _IMAGES


@pytest.mark.usefixtures("_back")
def test_a_job_is_deleted_at_once_and_with_all_that_it_owned_without_the_operator(
    cluster: Cluster, team: Team, release: Release, workers: list[str], measured: Callable[[str], None]
) -> None:
    there = {"nodeSelector": {"kubernetes.io/hostname": workers[1]}}
    team.apply(team.image_job("gone", [call("work", seconds=1, limits=[gpu()])], images=500, template=there, chunkSize=5, parallelism=3))
    with LeaseTimeline(cluster, workers[1]) as lease:
        eventually(lambda: len(lease.now.holders) == _SLOTS and bool(lease.now.queue), wanted=True, seconds=120)
        kinds = {name.partition("/")[0] for name in owned(team, "gone")}
        assert kinds == {"job.batch", "pod", "configmap"}
        release.scale(0)

        team.kubectl("create", "configmap", "bare")
        seconds, bare = deleted(team, "imagejob/gone"), deleted(team, "configmap/bare")
        measured(f"kubectl delete imagejob without the operator: {seconds:.2f} s; of a ConfigMap: {bare:.2f} s")
        assert seconds < max(_DELETE_SECONDS, _TIMES_BARE * bare)
        eventually(lambda: owned(team, "gone"), wanted=[])
        assert not lease.now.holders
        assert not lease.now.queue

"""A node is lost: its work is done elsewhere, and nobody on it stays in its Lease."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from tests.cluster.cluster import Cluster
from tests.e2e.team import Team, apart, call, gpu
from tests.e2e.timeline import LeaseTimeline
from tests.e2e.waiting import eventually

_IMAGES: Final = 240
_CHUNK: Final = 5
_PODS: Final = 6
_SLOTS: Final = 2
_LOST_SECONDS: Final = 180
"""Until a node counts as lost (40 s), its pods are to go (30 s), and have had their grace period (60 s)."""


@pytest.fixture
def node(cluster: Cluster, workers: list[str]) -> Iterator[str]:
    """A worker to be lost, which is there again when the test is over."""
    yield workers[1]
    if not cluster.runs():
        cluster.start_node(workers[1])


def test_the_shards_of_a_lost_node_are_finished_on_the_other(
    cluster: Cluster, team: Team, node: str, measured: Callable[[str], None]
) -> None:
    layout = {"chunkSize": _CHUNK, "shards": _PODS, "parallelism": _PODS}
    template = {"affinity": apart("lost")}
    with LeaseTimeline(cluster, node) as lease:
        team.apply(team.image_job("lost", [call("work", seconds=0.5, limits=[gpu("1s")])], images=_IMAGES, template=template, **layout))
        eventually(lambda: len(lease.now.holders) == _SLOTS and bool(lease.now.queue), wanted=True, seconds=120)
        team.wait_until_working("lost", images=4 * _CHUNK)
        there = {pod["metadata"]["name"] for pod in team.running("lost") if pod["spec"]["nodeName"] == node}
        assert len(there) == _PODS // 2

        cluster.engine.docker("kill", node)
        lost = time.monotonic()
        eventually(lambda: (lease.now.holders, lease.now.queue), ((), ()), seconds=_LOST_SECONDS)
        measured(f"the Lease of a lost node is empty after {time.monotonic() - lost:.0f} s")
        team.wait_until_finished("lost")
    measured(f"the job has ended after {time.monotonic() - lost:.0f} s")

    assert team.condition("lost", "Finished")["reason"] == "Succeeded"
    rows = team.check_output("lost")
    assert len(rows) == _IMAGES
    assert there & {row["outputs"]["work"]["pod"] for row in rows}  # what it had committed was not done again
    status = json.loads(team.kubectl("get", "job/lost", "--output=json"))["status"]
    assert (status["succeeded"], status.get("failed", 0)) == (_PODS, 0)

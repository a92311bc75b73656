"""Limits change under the jobs that take them: grants follow at once, and nobody who holds a slot is disturbed."""

import itertools
import json
from collections.abc import Iterator
from typing import Final

import pytest

from tests.cluster.cluster import Cluster
from tests.e2e.team import API, Team, call
from tests.e2e.waiting import eventually

_PODS: Final = 5
_LIMIT: Final = "e2e-live"


class Limit:
    """A NodeLimit that is on one worker alone."""

    def __init__(self, cluster: Cluster, node: str, slots: int) -> None:
        self._cluster = cluster
        self.node = node
        spec = {"slots": slots, "nodeSelector": {"kubernetes.io/hostname": node}}
        limit = {"apiVersion": API, "kind": "NodeLimit", "metadata": {"name": _LIMIT}, "spec": spec}
        cluster.kubectl("apply", "--filename=-", stdin=json.dumps(limit))

    def set(self, **spec: object) -> None:
        """Changes it."""
        self._cluster.kubectl("patch", f"nodelimit/{_LIMIT}", "--type=merge", f"--patch={json.dumps({'spec': spec})}")

    def delete(self) -> None:
        """Takes it away."""
        self._cluster.kubectl("delete", f"nodelimit/{_LIMIT}")


@pytest.fixture
def limit(cluster: Cluster, team: Team, workers: list[str]) -> Iterator[Limit]:
    """Two slots on the second worker."""
    del team  # brings the kind
    limit = Limit(cluster, workers[1], slots=2)
    yield limit
    limit.delete()


def test_slots_change_live_and_a_limit_is_switched_off_and_on(team: Team, limit: Limit) -> None:
    def holders() -> int:
        return len(team.holders(limit.node, _LIMIT))

    takes = call("work", seconds=1, limits=[{"name": _LIMIT, "hold": "0s"}])
    team.apply(team.image_job("live", [takes], images=600, chunkSize=2, shards=_PODS, parallelism=_PODS))
    eventually(holders, 2, seconds=120)
    eventually(lambda: len(team.running("live")), _PODS)
    assert {pod["spec"]["nodeName"] for pod in team.pods("live")} == {limit.node}, "pods go where the limit is"

    limit.set(slots=4)
    eventually(holders, 4)
    limit.set(slots=1)
    eventually(holders, 1)
    eventually(lambda: len(team.lease(limit.node, _LIMIT).queue), _PODS - 1)

    limit.set(active=False)
    eventually(holders, 0)
    eventually(lambda: team.condition("live", "Stalled").get("reason"), "LimitUnavailable")
    rows = len(team.rows("live"))
    limit.set(active=True, slots=4)
    eventually(holders, 4)
    team.wait_until_working("live", images=rows + 4)
    eventually(lambda: team.condition("live", "Stalled").get("status"), "False")

    assert len(team.running("live")) == _PODS, "nobody was disturbed"
    assert {pod["status"]["containerStatuses"][0]["restartCount"] for pod in team.pods("live")} == {0}
    assert len(team.pods("live")) == _PODS


def test_two_jobs_on_one_node_take_turns_by_their_hold(team: Team, limit: Limit) -> None:
    limit.set(slots=1)
    eventually(lambda: team.lease(limit.node, _LIMIT).slots, 1)
    takes = call("work", seconds=0.2, limits=[{"name": _LIMIT, "hold": "1s"}])
    for name in ("one", "other"):
        team.apply(team.image_job(name, [takes], images=60, chunkSize=10, shards=1))
    for name in ("one", "other"):
        team.wait_until_finished(name)
        assert len(team.check_output(name)) == 60

    holds = sorted((hold.start, hold.end, name) for name in ("one", "other") for hold in team.holds(name))
    last_start = {name: max(start for start, _, whose in holds if whose == name) for name in ("one", "other")}
    first_end = {name: min(end for _, end, whose in holds if whose == name) for name in ("one", "other")}
    both = [hold for hold in holds if max(first_end.values()) <= hold[0] <= min(last_start.values())]
    assert len(both) >= 8
    assert all(before[2] != after[2] for before, after in itertools.pairwise(both)), both
    assert all(0.8 <= end - start <= 2.5 for start, end, _ in both), both

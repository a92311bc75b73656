"""What Leases cost the API server while nothing changes hands, by its audit log."""

import json
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from itertools import pairwise
from typing import Final

from tests.cluster.cluster import Cluster
from tests.e2e.team import Team, call, gpu
from tests.e2e.timeline import LeaseTimeline
from tests.e2e.waiting import eventually
from tests.tools.chart import NAMESPACE

_SLOTS: Final = 2
_PODS: Final = 4
_RENEWALS: Final = 4
_LEAST_SECONDS: Final = 10.0
"""Between two writes of a holder: a write in ten seconds."""
_POD_OF_TOKEN: Final = "authentication.kubernetes.io/pod-name"  # noqa: S105  a name


def writes(cluster: Cluster, lease: str) -> list[tuple[str, float]]:
    """Who has written a Lease, and when, in order."""
    found = []
    for event in map(json.loads, cluster.audit_log.read_text().splitlines()):
        what, code = event["objectRef"], event["responseStatus"]["code"]
        if (what.get("namespace"), what.get("name"), code) == (NAMESPACE, lease, HTTPStatus.OK):
            (pod,) = event["user"].get("extra", {}).get(_POD_OF_TOKEN, [event["user"]["username"]])
            found.append((pod, datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()))
    return sorted(found, key=lambda write: write[1])


def test_a_holder_writes_once_in_ten_seconds_and_who_waits_or_does_nothing_never(
    cluster: Cluster, team: Team, workers: list[str], measured: Callable[[str], None]
) -> None:
    idle, busy = workers
    there = {"nodeSelector": {"kubernetes.io/hostname": busy}}
    layout = {"chunkSize": 100, "shards": _PODS, "parallelism": _PODS}
    before = writes(cluster, idle)
    with LeaseTimeline(cluster, busy) as lease:
        team.apply(team.image_job("long", [call("work", seconds=1, limits=[gpu("1h")])], images=100 * _PODS, template=there, **layout))
        eventually(lambda: len(lease.now.holders) == _SLOTS and len(lease.now.queue) == _PODS - _SLOTS, wanted=True, seconds=120)
        settled = len(writes(cluster, busy))
        renewed = {holder.id: holder.beat + _RENEWALS for holder in lease.now.holders}
        eventually(lambda: all(holder.beat >= renewed[holder.id] for holder in lease.now.holders), wanted=True, seconds=90)
        holders = {holder.pod.partition("/")[2] for holder in lease.now.holders}
        since = writes(cluster, busy)[settled:]
        team.kubectl("delete", "imagejob/long")
        eventually(lambda: (lease.now.holders, lease.now.queue), ((), ()))

    others = [pod for pod, _ in since if pod not in holders]
    at_rest = writes(cluster, idle)[len(before) :]
    gaps = [later - earlier for pod in holders for earlier, later in pairwise(at for by, at in since if by == pod)]
    measured(
        f"Lease writes: of {_PODS - _SLOTS} pods that wait {len(others)}, on an idle node {len(at_rest)}; of {_SLOTS} holders "
        f"{len(since) - len(others)}, seconds between two of one {', '.join(f'{gap:.2f}' for gap in sorted(gaps))}"
    )
    assert others == []
    assert at_rest == []
    assert len(gaps) >= _SLOTS * (_RENEWALS - 1)
    assert sum(gaps) / len(gaps) >= _LEAST_SECONDS

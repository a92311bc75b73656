"""Who holds a slot dies without a word: the operator gives the slot to the next in the queue."""

import time
from collections.abc import Callable
from typing import Final

from tests.cluster.cluster import Cluster
from tests.e2e import containers
from tests.e2e.team import Team, call, gpu
from tests.e2e.timeline import LeaseTimeline
from tests.e2e.waiting import eventually

_IMAGES: Final = 60
_PODS: Final = 4
_SLOTS: Final = 2
_BOUND_SECONDS: Final = 2.0
"""From the kill to the next holder."""


def newest_holder(lease: LeaseTimeline) -> tuple[str, str]:
    """Id and pod's name of whoever came to a slot last, once all slots are held and somebody waits."""
    eventually(lambda: len(lease.now.holders) == _SLOTS and bool(lease.now.queue), wanted=True)
    holder = max(lease.now.holders, key=lambda holder: holder.fence)
    return holder.id, holder.pod.partition("/")[2]


def handed_on(lease: LeaseTimeline, holder: str) -> float:
    """When somebody who had waited held the slot of a holder, which went in the same moment."""
    eventually(lambda: lease.now.holder(holder) is None, wanted=True)
    states = lease.states()
    gone = next(
        place for place, (_, state) in enumerate(states) if place and states[place - 1][1].holder(holder) and not state.holder(holder)
    )
    (_, before), (at, after) = states[gone - 1 : gone + 1]
    assert len(after.holders) == _SLOTS
    assert after.holder(before.queue[0].id) is not None
    return at


def force_delete(team: Team, pod: str) -> float:
    """Deletes a pod at once; gives the time of day at which the API server was asked to."""
    at = time.time()
    team.kubectl("delete", "pod", pod, "--force", "--grace-period=0", "--wait=false")
    return at


def test_a_slot_whose_holder_was_killed_or_deleted_by_force_has_the_next_holder_within_two_seconds(
    cluster: Cluster, team: Team, workers: list[str], measured: Callable[[str], None]
) -> None:
    node = workers[1]
    chunk = _IMAGES // _PODS
    one_chunk_each = {"chunkSize": chunk, "shards": _PODS, "parallelism": _PODS}
    there = {"nodeSelector": {"kubernetes.io/hostname": node}}
    with LeaseTimeline(cluster, node) as lease:
        team.apply(
            team.image_job("killed", [call("work", seconds=1, limits=[gpu("1m")])], images=_IMAGES, template=there, **one_chunk_each)
        )

        holder, pod = newest_holder(lease)
        killed = containers.kill(cluster, next(found for found in team.pods("killed") if found["metadata"]["name"] == pod))
        after_kill = handed_on(lease, holder) - killed

        holder, pod = newest_holder(lease)
        deleted = force_delete(team, pod)
        after_delete = handed_on(lease, holder) - deleted
    measured(f"next holder after SIGKILL: {after_kill:.2f} s; after kubectl delete --force: {after_delete:.2f} s")
    assert 0 < after_kill < _BOUND_SECONDS
    assert 0 < after_delete < _BOUND_SECONDS

    team.wait_until_finished("killed")
    assert team.condition("killed", "Finished")["reason"] == "Succeeded"
    assert len(team.check_output("killed")) == _IMAGES

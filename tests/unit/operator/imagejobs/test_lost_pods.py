"""Pods on a node that does not answer: nobody confirms that they have ended, and their successors would wait for ever."""

from unittest.mock import patch

import pytest

from imagejob_operator.imagejobs.actions import DeletePod
from imagejob_operator.imagejobs.caches import Caches
from imagejob_operator.imagejobs.executor import Executor
from imagejob_operator.imagejobs.planner import LOST_POD_SECONDS, plan
from imagejob_operator.kubernetes import KubernetesApi
from imagejob_operator.manifest import Json
from imagejob_operator.nodes import LostNodes
from imagejob_operator.timestamps import format_time
from tests.unit.operator.imagejobs.builders import NAMESPACE, SETTINGS, after, image_job, pod, started
from tests.unit.operator.imagejobs.fake_cluster import FakeCluster

GONE_AT = 60.0


def deletions(*, at: float, lost: frozenset[str] = frozenset({"node-1"}), **spec: object) -> tuple[list[DeletePod], float | None]:
    dying = pod(deletionTimestamp=format_time(after(GONE_AT)))
    made = plan(started(image_job(**spec), at=at, pods=[dying, pod(index=1)], lost_nodes=lost))
    return [action for action in made.actions if isinstance(action, DeletePod)], made.again_after


def test_a_pod_has_its_grace_period() -> None:
    found, again = deletions(at=GONE_AT - 10)

    assert found == []
    assert again == pytest.approx(10 + LOST_POD_SECONDS)


def test_a_pod_is_given_up_after_it() -> None:
    found, _ = deletions(at=GONE_AT + LOST_POD_SECONDS)

    assert found == [DeletePod("flowers-0-0", "uid-of-flowers-0-0")]


async def test_a_pod_that_is_given_up_has_failed_by_a_disruption_before_it_is_deleted() -> None:
    cluster = FakeCluster()
    lost = pod(resourceVersion="1")
    lost["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    cluster.objects["pods", NAMESPACE, "flowers-0-0"] = lost
    told: list[Json] = []
    api = KubernetesApi(cluster)
    caches = Caches(api, (), lambda *_: None)
    with patch.object(caches.pods, "report", lambda _type, thing: told.append(thing)):
        await Executor(api, caches, SETTINGS).do(image_job(), DeletePod("flowers-0-0", "uid-of-flowers-0-0"))
        await Executor(api, caches, SETTINGS).do(image_job(), DeletePod("flowers-0-0", "uid-of-flowers-0-0"))

    assert cluster.writes == ["PATCH pods/status", "DELETE pods"]
    status = told[0]["status"]
    assert status["phase"] == "Failed"
    assert [(each["type"], each["status"]) for each in status["conditions"]] == [("Ready", "False"), ("DisruptionTarget", "True")]


async def test_another_pod_of_the_same_name_is_not_given_up() -> None:
    cluster = FakeCluster()
    cluster.objects["pods", NAMESPACE, "flowers-0-0"] = pod()
    api = KubernetesApi(cluster)
    await Executor(api, Caches(api, (), lambda *_: None), SETTINGS).do(image_job(), DeletePod("flowers-0-0", "uid-of-another"))
    assert cluster.writes == []


def test_a_pod_is_given_up_in_whatever_state_the_job_is() -> None:
    for spec in ({"suspend": True}, {"cancel": True}):
        assert deletions(at=GONE_AT + LOST_POD_SECONDS, **spec)[0]


def test_a_node_that_answers_has_the_last_word() -> None:
    assert deletions(at=GONE_AT + 1000, lost=frozenset())[0] == []


def test_nodes_are_lost_while_they_are_not_ready() -> None:
    lost = LostNodes()
    for name, ready in (("a", "True"), ("b", "False"), ("c", "Unknown"), ("d", None)):
        conditions = [{"type": "Ready", "status": ready}] if ready else []
        lost.report(None, {"metadata": {"name": name}, "status": {"conditions": conditions}})
    assert lost() == {"b", "c"}

    lost.report("MODIFIED", {"metadata": {"name": "b"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    lost.report("DELETED", {"metadata": {"name": "c"}})
    assert lost() == frozenset()

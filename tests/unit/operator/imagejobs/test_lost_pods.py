"""Pods on a node that does not answer: nobody confirms that they have ended, and their successors would wait for ever."""

import pytest

from imagejob_operator.imagejobs.actions import DeletePod
from imagejob_operator.imagejobs.planner import LOST_POD_SECONDS, plan
from imagejob_operator.imagejobs.timestamps import format_time
from imagejob_operator.nodes import LostNodes
from tests.unit.operator.imagejobs.builders import after, image_job, pod, started

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

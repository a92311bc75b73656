import pytest

from imagejob_cli.cluster.pods import PodView, Wanted, wanted_pods
from tests.unit.cli.cluster.views import Json

RUNNING = {"running": {}}
FAILED = {"terminated": {"exitCode": 1}}


def pod(name: str, part: str = "work", index: int | None = None, state: Json | None = None, **status: object) -> Json:
    labels = {"imagejob.dev/part": part, **({"batch.kubernetes.io/job-completion-index": str(index)} if index is not None else {})}
    containers = [{"name": "sidecar", "state": FAILED}, *([{"name": "runner", "state": state}] if state is not None else [])]
    return {
        "metadata": {"name": name, "labels": labels, "creationTimestamp": "2026-05-04T10:00:00Z"},
        "status": {"phase": "Running", "containerStatuses": containers, **status},
    }


PODS = [
    pod("f", "finish", state=RUNNING),
    pod("w10", index=10, state=RUNNING),
    pod("w2-b", index=2, state=RUNNING),
    pod("w2-a", index=2, state=FAILED, phase="Failed"),
    pod("p", "plan", state=FAILED, phase="Succeeded"),
]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (Wanted(), ["p", "w2-a", "w2-b", "w10", "f"]),
        (Wanted(index=2), ["w2-a", "w2-b"]),
        (Wanted(part="plan"), ["p"]),
        (Wanted(failed=True), ["w2-a"]),
        (Wanted(index=10, failed=True), []),
    ],
)
def test_which_pods_and_in_which_order(wanted: Wanted, names: list[str]) -> None:
    assert [found.name for found in wanted_pods(PODS, wanted)] == names


@pytest.mark.parametrize(
    ("found", "started", "ended", "hindrance"),
    [
        (pod("a", state=RUNNING), True, False, "Running"),
        (pod("a", state=FAILED, phase="Failed"), True, True, "Failed"),
        (
            pod("a", state={"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}, phase="Pending"),
            False,
            False,
            "ImagePullBackOff: no such image",
        ),
        (
            pod(
                "a",
                phase="Pending",
                conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no GPU"}],
            ),
            False,
            False,
            "Unschedulable: no GPU",
        ),
        (pod("a", phase="Failed", reason="Evicted", message="disk is full"), False, True, "Evicted: disk is full"),
        ({"metadata": {"name": "a"}}, False, False, "Pending"),
    ],
)
def test_what_a_pod_is_at(found: Json, *, started: bool, ended: bool, hindrance: str) -> None:
    view = PodView.of(found)
    assert (view.started, view.ended, view.hindrance) == (started, ended, hindrance)

"""Which pods are known to run."""

from types import SimpleNamespace
from typing import Any, Never

from imagejob_operator.limits.pods import PodPresence


def test_whether_a_pod_runs_on_a_node_is_known_without_a_look_at_the_others() -> None:
    async def asked_for(*_: object) -> Never:
        raise AssertionError("nothing is asked for")

    def pod(node: str, phase: str = "Running") -> dict[str, Any]:
        return {"spec": {"nodeName": node}, "status": {"phase": phase}}

    pods = PodPresence(SimpleNamespace(get=asked_for), (), lambda: 0.0)
    pods.note("team/a", pod("gpu-1"))
    pods.note("team/a", pod("gpu-1"))
    pods.note("team/b", pod("gpu-2"))
    assert [pods.any_on(node) for node in ("gpu-1", "gpu-2", "gpu-3")] == [True, True, False]
    pods.note("team/a", pod("gpu-2"))
    assert [pods.any_on(node) for node in ("gpu-1", "gpu-2")] == [False, True]
    pods.note("team/a", None)
    pods.note("team/b", pod("gpu-2", "Succeeded"))
    assert not pods.any_on("gpu-2")

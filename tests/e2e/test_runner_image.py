"""The runner's image: what is in it, and that a job gives in a pod what it gives on the machine of whoever wrote it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cluster.cluster import Cluster
from tests.e2e.pods import Pods

_DEMO: Final = Path(__file__).parents[2] / "examples" / "imagejob.yaml"
_MARK: Final = "rows follow"

_SCORE_TOLERANCE: Final = 1e-3
"""The image's torch is Debian's 2.6, and the local one PyPI's newest: other kernels add up the same numbers in another order."""

_RESTRICTED: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_WRITABLE: Final = {"tmp": "/tmp", "output": "/output"}  # noqa: S108  a path in the pod


@pytest.mark.model
def test_the_demo_gives_in_a_pod_the_rows_of_a_local_run(pods: Pods, runner_image: str, workers: list[str], tmp_path: Path) -> None:
    job = pods.kubectl("create", "configmap", "demo", f"--from-file={_DEMO}", "--output=jsonpath={.metadata.name}")
    run = f"imagejob run -f /job/{_DEMO.name} --output /output && imagejob verify /output && echo {_MARK} && cat /output/results/*.jsonl"
    mounts = [{"name": name, "mountPath": path} for name, path in _WRITABLE.items()]
    pods.create(
        "demo",
        ["sh", "-c", run],
        node=workers[0],
        container={
            "image": runner_image,
            "securityContext": _RESTRICTED,
            "volumeMounts": [*mounts, {"name": "job", "mountPath": "/job"}],
        },
        spec={"volumes": [*({"name": name, "emptyDir": {}} for name in _WRITABLE), {"name": "job", "configMap": {"name": job}}]},
    )
    local = tmp_path / "output"
    subprocess.run([sys.executable, "-m", "imagejob_cli", "run", "-f", str(_DEMO), "--output", str(local)], check=True)
    said = pods.output_of("demo", seconds=600)

    in_pod = _rows(said.partition(f"{_MARK}\n")[2])
    here = _rows("".join(part.read_text() for part in sorted(local.glob("results/*.jsonl"))))
    assert len(here) == 10
    assert [row["id"] for row in in_pod] == [row["id"] for row in here]
    for pod_row, row in zip(in_pod, here, strict=True):
        pod_classes, classes = pod_row.pop("classes"), row.pop("classes")
        assert pod_row == row
        assert [(found["label"], found["index"]) for found in pod_classes] == [(found["label"], found["index"]) for found in classes]
        scores = [found["score"] for found in classes]
        assert [found["score"] for found in pod_classes] == pytest.approx(scores, abs=_SCORE_TOLERANCE), row["id"]


def _rows(lines: str) -> list[dict[str, Any]]:
    """Rows without what may differ from run to run, and with the outputs of the one step that infers apart."""
    rows = [json.loads(line) for line in lines.splitlines()]
    for row in rows:
        del row["provenance"], row["timings"], row["digest"]
        row["classes"] = row["outputs"].pop("classify")
    return rows


def test_the_image_runs_as_nobody_special_and_has_no_build_tools(cluster: Cluster, runner_image: str) -> None:
    look = "id -u; for tool in pip pip3 gcc cc g++ make git; do command -v $tool || true; done"
    assert cluster.engine.docker("run", "--rm", "--network=none", runner_image, "sh", "-c", look).split() == ["65532"]

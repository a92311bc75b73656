"""The demo's file on a cluster: photos from a web server, rows into a bucket, on both workers, and the rows of a local run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from imagejob_api.imagejob import Phase
from tests.e2e.servers import SERVICES
from tests.e2e.team import Team
from tests.e2e.timeline import shown

_DEMO: Final = Path(__file__).parents[2] / "examples" / "imagejob.yaml"
_PHOTOS: Final = 10
_SCORE_TOLERANCE: Final = 1e-3
"""As in test_runner_image.py: two builds of torch."""
_MINUTES: Final = 600.0


def on_cluster(team: Team) -> list[dict[str, Any]]:
    """The objects of the demo's file, as its comments say to change them for a cluster; each of two pods takes all GPUs of a worker."""
    pipeline, limit, job = yaml.safe_load_all(_DEMO.read_text())
    pipeline["spec"]["steps"][0]["download"] = {"allowedNetworks": [SERVICES]}
    job["spec"] |= {
        "source": {"urls": [{"id": image["id"], "url": team.servers.photo(image["id"])} for image in job["spec"]["source"]["urls"]]},
        "output": {"url": team.servers.output(team.key("demo"))},
        "parallelism": 2,
        "chunkSize": 2,
        "gpu": {"count": 2},
        "template": team.template(),
    }
    return [pipeline, limit, job]


@pytest.mark.model
def test_the_demos_file_gives_the_rows_of_a_local_run_from_pods_on_both_workers(team: Team, workers: list[str], tmp_path: Path) -> None:
    with shown(team.cluster, team.namespace, Phase.SUCCEEDED) as table:
        team.apply(*on_cluster(team))
        status = team.wait_until_finished("demo", _MINUTES)

    assert team.condition("demo", "Finished")["reason"] == "Succeeded"
    assert {found["type"] for found in status["conditions"] if found["status"] == "True"} == {"Finished", "Complete"}
    assert status["images"] == {"total": _PHOTOS, "succeeded": _PHOTOS, "failed": 0, "skipped": 0}
    assert {pod["spec"]["nodeName"] for pod in team.pods("demo")} == set(workers)

    assert table.lines[0] == ["NAME", "PHASE", "PROGRESS", "FAILED", "RATE", "WAITING", "AGE"]
    assert table.phases[-2:] == [Phase.RUNNING, Phase.SUCCEEDED]
    assert table.done == sorted(table.done)
    assert table.lines[-1][1:3] == [Phase.SUCCEEDED, f"{_PHOTOS}/{_PHOTOS}"]

    local = tmp_path / "output"
    subprocess.run([sys.executable, "-m", "imagejob_cli", "run", "-f", str(_DEMO), "--output", str(local)], check=True)
    lines = "".join(part.read_text() for part in local.glob("results/*.jsonl")).splitlines()
    here = sorted(map(json.loads, lines), key=lambda row: str(row["id"]))
    for row, local_row in zip(team.check_output("demo"), here, strict=True):
        assert row["provenance"]["node"] in workers
        assert comparable(row)[0] == comparable(local_row)[0]
        assert comparable(row)[1] == pytest.approx(comparable(local_row)[1], abs=_SCORE_TOLERANCE)


def comparable(row: dict[str, Any]) -> tuple[dict[str, Any], list[float]]:
    """What must be the same in two runs, and the scores."""
    classes = row["outputs"]["classify"]
    same = {key: value for key, value in row.items() if key not in {"url", "provenance", "timings", "outputs", "digest"}}
    return same | {"classes": [(found["label"], found["index"]) for found in classes]}, [found["score"] for found in classes]

"""Runs imagejob the way a user does, in a process of its own, and reads the object that it prints last."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from imagejob_runner.audit import Hold, LimitTally
from imagejob_runner.constants import HOLDS_FOLDER

IMAGEJOB = Path(sys.executable).with_name("imagejob")


def run_file(file: Path, *, allowed: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """One ``imagejob run`` of a file into a fresh output, with a Lease store of its own.

    Returns:
        What it printed last; each limit has the number of its hand-overs, too: ``handOvers``.
    """
    with tempfile.TemporaryDirectory(prefix="imagejob-bench-") as folder:
        command = [str(IMAGEJOB), "run", "-f", str(file), "--output", f"{folder}/output", "--json"]
        environment = {**os.environ, "IMAGEJOB_RUNTIME_DIR": f"{folder}/run"}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode not in allowed:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}")
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        for name, figures in answer["limits"].items():
            figures["handOvers"] = _hand_overs(Path(folder, "output", HOLDS_FOLDER), name)
        return answer


def _hand_overs(records: Path, limit: str) -> int:
    tally = LimitTally()
    for file in records.glob("*.jsonl"):
        for line in file.read_text().splitlines():
            hold = Hold(**json.loads(line))
            if hold.limit == limit:
                tally.add(hold)
    return len(tally.figures(writes=0).hand_over_ms)


def run_documents(*documents: Mapping[str, Any], allowed: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """One ``imagejob run`` of documents made by a benchmark."""
    with tempfile.TemporaryDirectory(prefix="imagejob-bench-") as folder:
        file = Path(folder, "job.yaml")
        file.write_text(yaml.safe_dump_all(documents))
        return run_file(file, allowed=allowed)


def documents_of(
    name: str,
    steps: list[dict[str, Any]],
    source: dict[str, Any],
    *,
    slots: int,
    **spec: Any,  # noqa: ANN401  fields of the job
) -> list[dict[str, Any]]:
    """A NodeLimit gpu and an ImageJob with its pipeline inline."""
    version = "imagejob.dev/v1alpha1"
    limit = {"apiVersion": version, "kind": "NodeLimit", "metadata": {"name": "gpu"}, "spec": {"slots": slots}}
    job = {
        "apiVersion": version,
        "kind": "ImageJob",
        "metadata": {"name": name},
        "spec": {"pipeline": {"steps": steps}, "source": source, "output": {"url": "/nowhere"}, **spec},
    }
    return [limit, job]

"""Runs imagejob the way a user does, in a process of its own, and reads the object that it prints last."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from imagejob_runner.audit import Hold, LimitTally
from imagejob_runner.constants import HOLDS_FOLDER

IMAGEJOB = (sys.executable, "-m", "imagejob_cli")
"""Works from the project's sources, too, where nothing can be installed."""


def run_file(file: Path, *, allowed: tuple[int, ...] = (0,), store: Path | None = None) -> dict[str, Any]:
    """One ``imagejob run`` of a file into a fresh output.

    Args:
        file: The job.
        allowed: Exit codes that it may end with.
        store: Folder of the Lease store; the run has one of its own, unless it is to share one with others.

    Returns:
        What it printed last. Beside it stands how long the command took, ``commandSeconds``, and each limit has the number of its
        hand-overs, ``handOvers``, and the times of its first grant and its last release on the boot's clock, ``span``, or None.
    """
    with tempfile.TemporaryDirectory(prefix="imagejob-bench-") as folder:
        command = [*IMAGEJOB, "run", "-f", str(file), "--output", f"{folder}/output", "--json"]
        environment = {**os.environ, "IMAGEJOB_RUNTIME_DIR": str(store or f"{folder}/run")}
        begun = time.perf_counter()
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        seconds = time.perf_counter() - begun
        if done.returncode not in allowed:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}")
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        answer["commandSeconds"] = round(seconds, 3)
        for name, figures in answer["limits"].items():
            holds = _holds(Path(folder, "output", HOLDS_FOLDER), name)
            figures["handOvers"] = _hand_overs(holds)
            figures["span"] = [min(hold.start for hold in holds), max(hold.end for hold in holds)] if holds else None
        return answer


def _holds(records: Path, limit: str) -> list[Hold]:
    lines = (line for file in records.glob("*.jsonl") for line in file.read_text().splitlines())
    return [hold for hold in (Hold(**json.loads(line)) for line in lines) if hold.limit == limit]


def _hand_overs(holds: Sequence[Hold]) -> int:
    tally = LimitTally()
    for hold in holds:
        tally.add(hold)
    return len(tally.figures(writes=0).hand_over_ms)


def run_documents(*documents: Mapping[str, Any], allowed: tuple[int, ...] = (0,), store: Path | None = None) -> dict[str, Any]:
    """One ``imagejob run`` of documents made by a benchmark; as `run_file`."""
    with tempfile.TemporaryDirectory(prefix="imagejob-bench-") as folder:
        file = Path(folder, "job.yaml")
        file.write_text(yaml.safe_dump_all(documents))
        return run_file(file, allowed=allowed, store=store)


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

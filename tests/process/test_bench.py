"""Benchmarks: the one for GPUs in the small form that it has where there is none, and what the one of a million calls."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench import million
from bench.figures import Figure
from bench.runs import IMAGEJOB
from tests.process.harness import PATIENCE_SECONDS, ROOT

RIVALS = {"pillow 500x375", "pillow 1600x1200", "model fp32", "model bf16", "loader plain", "loader tuned"}
JOBS = {"as it comes", "as it comes, first grant to last release", "two share the GPU, first grant to last release"}
MORE_JOBS = {"1600x1200", "bf16", "bf16 + compile"}


def test_the_benchmark_for_gpus_measures_all_there_is_in_one_run(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "bench", "gpu"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=4 * PATIENCE_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "bench/out/gpu.json").read_text())
    assert found["rates"].keys() >= RIVALS | {f"imagejob {name}" for name in JOBS | MORE_JOBS}
    assert all(rate > 0 for rate in found["rates"].values())
    figures = {figure.pop("name"): figure for figure in found["figures"]}
    assert all(figure["value"] > 0 and not figure["missed"] for name, figure in figures.items() if "besides" not in name)
    limit = 1 / (1 / found["rates"]["model fp32"] + 1 / found["rates"]["pillow 500x375"])
    assert figures["the limit, as it comes"]["value"] == limit
    assert figures["imagejob as it comes, against its limit"]["value"] == found["rates"]["imagejob as it comes"] / limit
    assert str(Figure("the limit, as it comes", limit, "images/s")) in done.stdout


def test_the_benchmark_of_a_million_calls_the_command_as_all_do(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []

    def run(command: Sequence[str]) -> tuple[float, float]:
        called.append(list(command))
        return 1.0, 1.0

    monkeypatch.setattr(million, "_run", run)
    assert not any(figure.missed for figure in million.measure().figures)
    commands = [command for command in called if {"verify", "show"} & set(command)]
    assert len(commands) == 10
    assert all(command[: len(IMAGEJOB)] == list(IMAGEJOB) for command in commands)

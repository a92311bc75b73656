"""A million inputs: planning, from a folder and from a list, and `verify` and `show` of their output, each within a minute and 300 MB.

The output is made by the code that plans and writes (`bench.million_output`). Each command is a process of its own, with its start and its
imports; its memory is the largest resident set that the kernel counted.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure, Measured
from bench.runs import IMAGEJOB

INPUTS = int(os.environ.get("INPUTS", "1000000"))
MOST_SECONDS, MOST_MB = 60.0, 300.0
_OUTPUT = (sys.executable, "-m", "bench.million_output")


def measure() -> Measured:
    """Seconds and MB of each."""
    figures: list[Figure] = []
    details: dict[str, tuple[float, float]] = {}

    def add(name: str, command: Sequence[str]) -> None:
        seconds, megabytes = details[name] = _run(command)
        figures.append(Figure(f"{name}: time", seconds, "s", at_most=MOST_SECONDS))
        figures.append(Figure(f"{name}: memory", megabytes, "MB", at_most=MOST_MB))

    with tempfile.TemporaryDirectory(prefix="imagejob-bench-") as folder:
        photos = Path(folder, "photos")
        _run([*_OUTPUT, "photos", str(photos), str(INPUTS)])
        outputs = {form: str(Path(folder, form)) for form in ("jsonl", "parquet")}
        add("plan, of a folder", [*_OUTPUT, "plan", str(photos), outputs["jsonl"], "jsonl"])
        add("plan, of a list", [*_OUTPUT, "plan", f"{photos}.jsonl", outputs["parquet"], "parquet"])
        for form, output in outputs.items():
            _run([*_OUTPUT, "rows", output])
            add(f"verify, {form}", [*IMAGEJOB, "verify", output])
            add(f"show, {form}", [*IMAGEJOB, "show", output])
            add(f"show --status failed, {form}", [*IMAGEJOB, "show", output, "--status", "failed", "--limit", "0"])
            add(f"show --limit 0, {form}", [*IMAGEJOB, "show", output, "--limit", "0"])
            add(f"show --limit 0 --json, {form}", [*IMAGEJOB, "show", output, "--limit", "0", "--json"])
    return Measured(figures, {"inputs": INPUTS, "secondsAndMB": details})


def _run(command: Sequence[str]) -> tuple[float, float]:
    """Seconds, and the largest resident set in MB, of a command that must succeed."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return seconds, usage.ru_maxrss / 1000

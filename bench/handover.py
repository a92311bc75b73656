"""How long a slot takes from one process to the next on a real API server, and how long a bare write takes to a watch in the same run."""

import json
import statistics
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise
from typing import Any

from nodelease.kubernetes.objects import new_lease
from nodelease.state import LeaseState
from tests.cluster.control_plane import ControlPlane, Options, run_control_plane

PROCESSES, ROUNDS, WRITES = 20, 40, 500
NAMESPACE = "imagejob-system"
GOAL = {"p50": 5, "p99": 25}


def measure() -> dict[str, Any]:
    """Milliseconds, p50 and p99."""
    with run_control_plane(Options(controllers=False)) as plane:
        plane.kubectl("create", "namespace", NAMESPACE)
        results: dict[str, Any] = {"bare": _shown("a bare write reaching a watch", _bare(plane), {})}
        for slots in (1, 2):
            results[f"slots{slots}"] = _shown(f"hand-over, {PROCESSES} processes, {slots} slots", _hand_overs(plane, slots), GOAL)
    return results


def _bare(plane: ControlPlane) -> list[float]:
    _make_lease(plane, "bare", 1)
    begun, heard = _run(plane, "bare", {"write": WRITES, "read": WRITES})
    return [after - before for before, after in zip(begun, heard, strict=True)]


def _hand_overs(plane: ControlPlane, slots: int) -> list[float]:
    node = f"node-{slots}"
    _make_lease(plane, node, slots)
    holdings = [holding for process in _run(plane, node, {f"take{number}": ROUNDS for number in range(PROCESSES)}) for holding in process]
    by_slot = defaultdict(list)
    for holding in sorted(holdings, key=lambda holding: holding["fence"]):
        by_slot[holding["slot"]].append(holding)
    # Until all have had their first turn, some are still about to queue, and that takes writes of its own.
    pairs = (pair for holdings_of_one in by_slot.values() for pair in pairwise(holdings_of_one))
    return [after["granted"] - before["passed"] for before, after in pairs if after["fence"] > PROCESSES]


def _make_lease(plane: ControlPlane, node: str, slots: int) -> None:
    lease = new_lease("gpu", node, node_uid="none", namespace=NAMESPACE, state=LeaseState(slots=slots))
    plane.kubectl("create", "-f", "-", stdin=json.dumps(lease))


def _run(plane: ControlPlane, node: str, parties: dict[str, int]) -> list[Any]:
    """What each process measured; they begin together."""
    command = [sys.executable, "-m", "bench.handover_party", str(plane.kubeconfig), NAMESPACE, node]
    running = [
        subprocess.Popen(
            [*command, what.rstrip("0123456789"), str(rounds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        for what, rounds in parties.items()
    ]
    try:
        for process in running:
            if _pipe(process.stdout).readline() != "ready\n":
                raise RuntimeError("a process of the benchmark ended before it began")
        for process in reversed(running):  # who reads begins before who writes
            _pipe(process.stdin).write("go\n")
        return [json.loads(process.communicate()[0]) for process in running]
    finally:
        for process in running:
            process.kill()
            process.communicate()


def _pipe(pipe: Any) -> Any:  # noqa: ANN401  IO[str] or None
    if pipe is None:
        raise RuntimeError("the process has no pipe")
    return pipe


def _shown(name: str, seconds: list[float], goal: dict[str, int]) -> dict[str, float]:
    quantiles = statistics.quantiles(seconds, n=100)
    figures = {"p50": 1000 * statistics.median(seconds), "p99": 1000 * quantiles[98]}
    goals = f" (at most {goal['p50']} and {goal['p99']})" if goal else ""
    print(f"{name:40} p50 {figures['p50']:6.2f} ms, p99 {figures['p99']:6.2f} ms{goals}; {len(seconds)} of them")
    return figures

"""How long a slot takes from one process to the next on a real API server, and how long a bare write takes to a watch in the same run."""

import json
import statistics
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise
from typing import Any

from bench.figures import Figure, Measured
from nodelease.kubernetes.objects import new_lease
from nodelease.state import LeaseState
from tests.cluster.control_plane import ControlPlane, Options, run_control_plane
from tests.tools.write_to_watch import WriteToWatch

PROCESSES, ROUNDS = 20, 40
WRITES, PAUSE_SECONDS = 500, 0.03
NAMESPACE = "imagejob-system"
GOAL = {"p50": 5, "p99": 25}


def measure() -> Measured:
    """Milliseconds, p50 and p99."""
    with run_control_plane(Options(controllers=False)) as plane:
        plane.kubectl("create", "namespace", NAMESPACE)
        bare = _bare(plane)
        hand_overs = {slots: _hand_overs(plane, slots) for slots in (1, 2)}
    figures = _figures("a bare write reaching a watch", bare, {})
    for slots, seconds in hand_overs.items():
        figures += _figures(f"hand-over, {PROCESSES} processes, {slots} slots", seconds, GOAL)
    return Measured(figures, {"bare": _quantiles(bare), **{f"slots{slots}": _quantiles(seconds) for slots, seconds in hand_overs.items()}})


def _bare(plane: ControlPlane) -> list[float]:
    plane.kubectl("create", "-f", "-", stdin=json.dumps(WriteToWatch.lease(NAMESPACE)))
    with WriteToWatch(plane.kubeconfig, NAMESPACE, PAUSE_SECONDS) as bare:
        bare.wait_for(WRITES)
    return bare.seconds


def _hand_overs(plane: ControlPlane, slots: int) -> list[float]:
    node = f"node-{slots}"
    lease = new_lease("gpu", node, node_uid="none", namespace=NAMESPACE, state=LeaseState(slots=slots))
    plane.kubectl("create", "-f", "-", stdin=json.dumps(lease))
    by_slot = defaultdict(list)
    for holding in sorted(_take_turns(plane, node), key=lambda holding: holding["fence"]):
        by_slot[holding["slot"]].append(holding)
    # Until all have had their first turn, some are still about to queue, and that takes writes of its own.
    pairs = (pair for holdings_of_one in by_slot.values() for pair in pairwise(holdings_of_one))
    return [after["granted"] - before["passed"] for before, after in pairs if after["fence"] > PROCESSES]


def _take_turns(plane: ControlPlane, node: str) -> list[Any]:
    """The holdings of all processes; they begin together."""
    command = [sys.executable, "-m", "bench.handover_party", str(plane.kubeconfig), NAMESPACE, node, str(ROUNDS)]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(PROCESSES)]
    try:
        for process in running:
            if _pipe(process.stdout).readline() != "ready\n":
                raise RuntimeError("a process of the benchmark ended before it began")
        for process in running:
            _pipe(process.stdin).write("go\n")
        return [holding for process in running for holding in json.loads(process.communicate()[0])]
    finally:
        for process in running:
            process.kill()
            process.communicate()


def _pipe(pipe: Any) -> Any:  # noqa: ANN401  IO[str] or None
    if pipe is None:
        raise RuntimeError("the process has no pipe")
    return pipe


def _figures(name: str, seconds: list[float], goal: dict[str, int]) -> list[Figure]:
    return [Figure(f"{name}, {part} of {len(seconds)}", ms, "ms", at_most=goal.get(part)) for part, ms in _quantiles(seconds).items()]


def _quantiles(seconds: list[float]) -> dict[str, float]:
    return {"p50": 1000 * statistics.median(seconds), "p99": 1000 * statistics.quantiles(seconds, n=100)[98]}

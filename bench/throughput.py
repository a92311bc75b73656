"""The runner against a bare torch loop over tensors that are decoded already.

The goal is held against the network as the runner prepares it, on as many threads, in the same batches, with the same allocator and memory
layout. Beside it stand the same loop in the smaller passes that the runner makes of a batch on a CPU, which is the part of its own
preparation that no loop of a user has, and the plain network, for what preparing gains.

The runner's images are counted by the time for which it held its slot: from when the model is loaded and the first batch decoded, as they
are before a bare loop begins, to the last batch. With nobody else after the slot that is one hold, in which waiting for photos counts. The
rate from the first read to the last save is shown too.

All run one after another in each round, and the ratios are the medians of the rounds' ratios: the speed of a machine may drift by more
than what is looked for.

All infer on one thread, so that decoding has a core of its own. With inference on every core, decoding has to take its time from it, and
the ratio would say how dear decoding is, not how well it is overlapped.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from bench import demo_model, photos
from bench.figures import Figure, Measured
from bench.runs import documents_of, run_documents
from imagejob_runner.process import ALLOCATOR_VARIABLES, THREAD_VARIABLES

ROUNDS, COPIES, BATCH, LEAST_RATIO = 5, 2, 32, 0.97
NETWORKS = ("plain", "prepared", "passes")
"""Of `bench.bare_loop`."""
INFER: dict[str, Any] = {"batchSize": BATCH, "threads": 1, "device": "cpu"}
"""Fields of the step."""


def measure() -> Measured:
    """Images a second of all, in turn, and how the runner compares."""
    folder = photos.small(COPIES)
    rates: dict[str, list[float]] = {**{network: [] for network in NETWORKS}, "runner": [], "endToEnd": []}
    most_holds = 0
    for _ in range(ROUNDS):
        for network in NETWORKS:
            rates[network].append(bare(str(folder), network))
        answer = _runner(str(folder.resolve()))
        gpu = answer["limits"]["gpu"]
        rates["runner"].append(round(answer["images"]["succeeded"] / gpu["heldSeconds"], 2))
        rates["endToEnd"].append(answer["imagesPerSecond"])
        most_holds = max(most_holds, gpu["holds"])
    middle = {name: statistics.median(values) for name, values in rates.items()}
    ratios = {f"against{network.title()}": _ratio(rates["runner"], rates[network]) for network in NETWORKS}
    figures = [
        Figure("runner, while it holds its slot", middle["runner"], "images/s"),
        Figure("runner, first read to last save", middle["endToEnd"], "images/s"),
        Figure("runner, holds of its slot", most_holds, at_most=1),
        Figure("bare loop", middle["prepared"], "images/s"),
        Figure("bare loop, in the runner's passes", middle["passes"], "images/s"),
        Figure("bare loop, the plain network", middle["plain"], "images/s"),
        Figure("runner against the bare loop", ratios["againstPrepared"], at_least=LEAST_RATIO),
        Figure("runner against the bare loop in the runner's passes", ratios["againstPasses"]),
        Figure("runner against the plain network", ratios["againstPlain"]),
    ]
    return Measured(figures, {**rates, **ratios})


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(our / their for our, their in zip(ours, theirs, strict=True))


def _runner(folder: str) -> dict[str, Any]:
    steps = demo_model.steps(limit={"name": "gpu"}, **INFER)
    return run_documents(*documents_of("throughput", steps, {"prefix": {"url": folder}}, slots=1, chunkSize=BATCH * 4))


def bare(folder: str, network: str, threads: int = INFER["threads"]) -> float:
    """Images a second of a loop that does nothing else, in a process with the same allocator."""
    command = [sys.executable, "-m", "bench.bare_loop", folder, network, str(threads)]
    environment = {**os.environ, **ALLOCATOR_VARIABLES, **THREAD_VARIABLES}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    answer: float = json.loads(done.stdout)["imagesPerSecond"]
    return answer

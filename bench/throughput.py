"""The runner against a bare torch loop over tensors that are decoded already.

Like for like, and held to the goal: the network as the runner prepares it, in passes of as many images, on as many threads, with the same
allocator and memory layout, so that the ratio says what reading, decoding and writing beside the model cost. The plain network in whole
batches stands beside it, for what preparing it gains.

The runner's images are counted by the time for which it held its slot: from when the model is loaded and the first batch decoded, as they
are before a bare loop begins, to the last batch. With nobody else after the slot that is one hold, in which waiting for photos counts. The
rate from the first read to the last save is shown too.

All infer on one thread, so that decoding has a core of its own. With inference on every core, decoding has to take its time from it, and
the ratio would say how dear decoding is, not how well it is overlapped.
"""

import json
import os
import statistics
import subprocess
import sys
from typing import Any

from bench import demo_model, photos
from bench.figures import Figure, Measured
from bench.runs import documents_of, run_documents
from imagejob_runner.process import ALLOCATOR_VARIABLES, THREAD_VARIABLES

ROUNDS, BATCH, LEAST_RATIO = 3, 32, 0.95
INFER: dict[str, Any] = {"batchSize": BATCH, "threads": 1, "device": "cpu"}
"""Fields of the step."""


def measure() -> Measured:
    """Images a second of all, in turn, and the ratios of their medians."""
    folder = photos.small()
    rates: dict[str, list[float]] = {"plain": [], "prepared": [], "runner": [], "endToEnd": []}
    most_holds = 0
    for _ in range(ROUNDS):
        for network in ("plain", "prepared"):
            rates[network].append(_bare(str(folder), network))
        answer = _runner(str(folder.resolve()))
        gpu = answer["limits"]["gpu"]
        rates["runner"].append(round(answer["images"]["succeeded"] / gpu["heldSeconds"], 2))
        rates["endToEnd"].append(answer["imagesPerSecond"])
        most_holds = max(most_holds, gpu["holds"])
    middle = {name: statistics.median(values) for name, values in rates.items()}
    ratios = {f"against{network.title()}": middle["runner"] / middle[network] for network in ("prepared", "plain")}
    figures = [
        Figure("runner, while it holds its slot", middle["runner"], "images/s"),
        Figure("runner, first read to last save", middle["endToEnd"], "images/s"),
        Figure("runner, holds of its slot", most_holds, at_most=1),
        Figure("bare loop, the runner's network and passes", middle["prepared"], "images/s"),
        Figure("bare loop, the plain network in whole batches", middle["plain"], "images/s"),
        Figure("runner against the bare loop, like for like", ratios["againstPrepared"], at_least=LEAST_RATIO),
        Figure("runner against the plain network", ratios["againstPlain"]),
    ]
    return Measured(figures, {**rates, **ratios})


def _runner(folder: str) -> dict[str, Any]:
    steps = demo_model.steps(limit={"name": "gpu"}, **INFER)
    return run_documents(*documents_of("throughput", steps, {"prefix": {"url": folder}}, slots=1, chunkSize=BATCH * 4))


def _bare(folder: str, network: str) -> float:
    """Images a second of a loop that does nothing else, in a process with the same allocator."""
    command = [sys.executable, "-m", "bench.bare_loop", folder, network]
    environment = {**os.environ, **ALLOCATOR_VARIABLES, **THREAD_VARIABLES}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    answer: float = json.loads(done.stdout)["imagesPerSecond"]
    return answer

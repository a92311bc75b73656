"""600 mixed photos from disk to answers, as each comes out of the box: imagejob against a plain torch DataLoader script, and the ideal.

The ideal is what the slower of bare decoding and the bare model does when it has all CPUs for itself. Both need the same CPUs, so where one
takes a part p of what the other takes, no program can do more than 1 / (1 + p) of it; that bound is shown, too.
"""

import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from bench import demo_model, photos
from bench.decodebound import rate
from bench.figures import Figure, Measured
from bench.runs import documents_of, run_documents
from bench.throughput import bare

ROUNDS, LEAST_RATIO, LEAST_OF_IDEAL = 3, 5.5, 0.85


def measure() -> Measured:
    """Images a second, from the first read to the last answer, of all in turn."""
    folder, cpus = photos.mixed(), len(os.sched_getaffinity(0))
    paths = sorted(folder.glob("*.jpg"))
    rates: dict[str, list[float]] = {"imagejob": [], "dataloader": [], "decode": [], "model": []}
    with ProcessPoolExecutor(cpus, get_context("forkserver")) as processes:
        rate(processes, paths[:64])  # what is loaded once is not counted
        for _ in range(ROUNDS):
            done = subprocess.run([sys.executable, "-m", "bench.dataloader", str(folder)], stdout=subprocess.PIPE, text=True, check=True)
            rates["dataloader"].append(json.loads(done.stdout)["imagesPerSecond"])
            rates["decode"].append(rate(processes, paths))
            rates["model"].append(bare(str(photos.small()), "passes", cpus))
            documents = documents_of(
                "outofbox", demo_model.steps(limit={"name": "gpu"}), {"prefix": {"url": str(folder.resolve())}}, slots=1
            )
            rates["imagejob"].append(run_documents(*documents)["imagesPerSecond"])
    middle = {name: statistics.median(values) for name, values in rates.items()}
    ideal, both = min(middle["decode"], middle["model"]), 1 / (1 / middle["decode"] + 1 / middle["model"])
    figures = [
        Figure("imagejob", middle["imagejob"], "images/s"),
        Figure("DataLoader script", middle["dataloader"], "images/s"),
        Figure(f"bare decoding, {cpus} processes", middle["decode"], "images/s"),
        Figure(f"bare model, {cpus} threads", middle["model"], "images/s"),
        Figure("imagejob against the script", ratio := middle["imagejob"] / middle["dataloader"], at_least=LEAST_RATIO),
        Figure("imagejob against the ideal", part := middle["imagejob"] / ideal, at_least=LEAST_OF_IDEAL),
        Figure("both on the same CPUs against the ideal", both / ideal),
    ]
    return Measured(figures, {**rates, "ratio": ratio, "ofIdeal": part})

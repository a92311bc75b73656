"""A job that only decoding limits: 500x375 photos and a free model, against bare Pillow on the same CPUs.

Bare Pillow opens, drafts, converts and resizes, and does nothing with the pixels, on as many threads as there are CPUs and in as many
processes. The goal is held against the quicker of the two.
"""

import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from bench import free_model, photos
from bench.decode import SIZE, bare
from bench.figures import Figure, Measured
from bench.runs import documents_of, run_documents

ROUNDS, COPIES, LEAST_RATIO = 3, 4, 0.95
_PART = 32


def decode(paths: Sequence[Path]) -> int:
    """Decodes and resizes files; returns how many."""
    for path in paths:
        bare(path.read_bytes())
    return len(paths)


def measure() -> Measured:
    """Images a second of all in turn, and the ratio of the medians."""
    folder, cpus = photos.small(COPIES), len(os.sched_getaffinity(0))
    paths = sorted(folder.glob("*.jpg"))
    rates: dict[str, list[float]] = {"threads": [], "processes": [], "imagejob": []}
    with ThreadPoolExecutor(cpus) as threads, ProcessPoolExecutor(cpus, get_context("forkserver")) as processes:
        for pool in (threads, processes):
            rate(pool, paths[: 2 * _PART * cpus])  # what is loaded once is not counted
        for _ in range(ROUNDS):
            rates["threads"].append(rate(threads, paths))
            rates["processes"].append(rate(processes, paths))
            documents = documents_of("decodebound", free_model.steps(SIZE), {"prefix": {"url": str(folder.resolve())}}, slots=1)
            rates["imagejob"].append(run_documents(*documents)["imagesPerSecond"])
    middle = {name: statistics.median(values) for name, values in rates.items()}
    best = max(middle["threads"], middle["processes"])
    figures = [
        Figure("imagejob, as it comes", middle["imagejob"], "images/s"),
        Figure(f"bare Pillow, {cpus} threads", middle["threads"], "images/s"),
        Figure(f"bare Pillow, {cpus} processes", middle["processes"], "images/s"),
        Figure("imagejob against the quicker of them", ratio := middle["imagejob"] / best, at_least=LEAST_RATIO),
    ]
    return Measured(figures, {**rates, "ratio": ratio})


def rate(pool: Executor, paths: Sequence[Path]) -> float:
    """Images a second that a pool decodes of some files."""
    start = time.perf_counter()
    count = sum(pool.map(decode, [paths[at : at + _PART] for at in range(0, len(paths), _PART)]))
    return count / (time.perf_counter() - start)

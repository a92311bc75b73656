"""The runner against a bare torch loop over tensors that are decoded already.

Both infer on one thread, so that decoding has a core of its own.

With inference on every core, decoding has to take its time from it, and the ratio would say how dear decoding is, not how well it is
overlapped.
"""

import json
import os
import subprocess
import sys
from typing import Any

from bench import demo_model, photos
from bench.runs import documents_of, run_documents
from imagejob_runner.process import ALLOCATOR_VARIABLES, THREAD_VARIABLES

ROUNDS, BATCH, THREADS = 3, 32, 1


def measure() -> dict[str, Any]:
    """Images a second of both, in turn, and the ratio of their medians."""
    folder = photos.small()
    runner, bare = [], []
    for _ in range(ROUNDS):
        bare.append(_bare(str(folder)))
        runner.append(_runner(str(folder.resolve())))
    middle = ROUNDS // 2
    ratio = sorted(runner)[middle] / sorted(bare)[middle]
    print(
        f"runner {sorted(runner)[middle]:.1f} images/s, bare loop {sorted(bare)[middle]:.1f}: {ratio:.3f} (at least 0.95); "
        f"rounds {runner} {bare}"
    )
    return {"runner": runner, "bare": bare, "ratio": ratio}


def _runner(folder: str) -> float:
    """Images a second of inference, from the first batch's start to the last one's end."""
    steps = demo_model.steps(limit={"name": "gpu"}, batchSize=BATCH, threads=THREADS)
    answer = run_documents(*documents_of("throughput", steps, {"prefix": {"url": folder}}, slots=1, chunkSize=BATCH * 4))
    images: int = answer["images"]["succeeded"]
    seconds: float = answer["limits"]["gpu"]["heldSeconds"]
    return round(images / seconds, 2)


def _bare(folder: str) -> float:
    """Images a second of a loop that does nothing else, in a process with the same allocator and layout."""
    environment = {**os.environ, **ALLOCATOR_VARIABLES, **THREAD_VARIABLES}
    done = subprocess.run([sys.executable, "-m", "bench.bare_loop", folder], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    answer: float = json.loads(done.stdout)["imagesPerSecond"]
    return answer

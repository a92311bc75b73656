"""What the runner costs besides reading, decoding and inferring: tiny pictures, a free model, against a loop in one thread.

A picture of 32x32 pixels and a model that costs nothing leave only what moving an image through the stages takes. The loop does the same
work in the order in which anyone would write it; the runner overlaps it, and promises a row, retries and provenance for each image.
"""

import json
import statistics
import subprocess
import sys

from bench import free_model, photos
from bench.figures import Figure, Measured
from bench.runs import documents_of, run_documents

ROUNDS, IMAGES, LEAST_RATIO = 3, 6000, 0.8


def measure() -> Measured:
    """Images a second of both in turn, and the ratio of the medians."""
    folder = photos.tiny(IMAGES, free_model.SIZE)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        done = subprocess.run([sys.executable, "-m", "bench.one_thread", str(folder)], stdout=subprocess.PIPE, text=True, check=True)
        theirs.append(json.loads(done.stdout)["imagesPerSecond"])
        documents = documents_of("engine", free_model.steps(), {"prefix": {"url": str(folder.resolve())}}, slots=1)
        ours.append(run_documents(*documents)["imagesPerSecond"])
    middle = statistics.median(ours), statistics.median(theirs)
    figures = [
        Figure("imagejob, as it comes", middle[0], "images/s"),
        Figure("a loop in one thread", middle[1], "images/s"),
        Figure("imagejob against the loop", ratio := middle[0] / middle[1], at_least=LEAST_RATIO),
    ]
    return Measured(figures, {"imagejob": ours, "loop": theirs, "ratio": ratio})

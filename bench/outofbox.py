"""600 mixed photos from disk to answers, as each comes out of the box: imagejob against a plain torch DataLoader script."""

import json
import statistics
import subprocess
import sys

from bench import demo_model, photos
from bench.figures import Figure, Measured
from bench.runs import documents_of, run_documents

ROUNDS, LEAST_RATIO = 3, 4


def measure() -> Measured:
    """Images a second, from the first read to the last answer, of both in turn."""
    folder = photos.mixed()
    ours, theirs = [], []
    for _ in range(ROUNDS):
        done = subprocess.run([sys.executable, "-m", "bench.dataloader", str(folder)], stdout=subprocess.PIPE, text=True, check=True)
        theirs.append(json.loads(done.stdout)["imagesPerSecond"])
        documents = documents_of("outofbox", demo_model.steps(limit={"name": "gpu"}), {"prefix": {"url": str(folder.resolve())}}, slots=1)
        ours.append(run_documents(*documents)["imagesPerSecond"])
    figures = [
        Figure("imagejob", statistics.median(ours), "images/s"),
        Figure("DataLoader script", statistics.median(theirs), "images/s"),
        Figure("imagejob against the script", ratio := statistics.median(ours) / statistics.median(theirs), at_least=LEAST_RATIO),
    ]
    return Measured(figures, {"imagejob": ours, "dataloader": theirs, "ratio": ratio})

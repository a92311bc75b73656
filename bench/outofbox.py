"""600 mixed photos from disk to answers, as each comes out of the box: imagejob against a plain torch DataLoader script."""

import json
import subprocess
import sys
from typing import Any

from bench import demo_model, photos
from bench.runs import documents_of, run_documents

ROUNDS = 3


def measure() -> dict[str, Any]:
    """Images a second, from the first read to the last answer, of both in turn."""
    folder = photos.mixed()
    ours, theirs = [], []
    for _ in range(ROUNDS):
        done = subprocess.run([sys.executable, "-m", "bench.dataloader", str(folder)], stdout=subprocess.PIPE, text=True, check=True)
        theirs.append(json.loads(done.stdout)["imagesPerSecond"])
        documents = documents_of("outofbox", demo_model.steps(limit={"name": "gpu"}), {"prefix": {"url": str(folder.resolve())}}, slots=1)
        ours.append(run_documents(*documents)["imagesPerSecond"])
    middle = ROUNDS // 2
    ratio = sorted(ours)[middle] / sorted(theirs)[middle]
    print(
        f"imagejob {sorted(ours)[middle]:.1f} images/s (goal 115), DataLoader script {sorted(theirs)[middle]:.1f}: "
        f"{ratio:.2f} x (at least 4); rounds {ours} {theirs}"
    )
    return {"imagejob": ours, "dataloader": theirs, "ratio": ratio}

"""What the Lease costs a saturated run: 1,000 images through the demo's model in 4 processes that share 1 slot."""

import tempfile
from pathlib import Path

from bench import demo_model, photos
from bench.figures import Figure, Measured
from bench.runs import documents_of, run_documents

IMAGES, PROCESSES = 1000, 4
MOST_WRITES, MOST_PER_CENT = 0.01, 1


def measure() -> Measured:
    """Lease writes per image, and the share of inference time in which the slot was free or idle."""
    paths = sorted(photos.small().glob("*.jpg"))
    with tempfile.TemporaryDirectory(prefix="imagejob-bench-") as folder:
        manifest = Path(folder, "photos.csv")
        lines = [f"{number},{paths[number % len(paths)].resolve()}" for number in range(IMAGES)]
        manifest.write_text("\n".join(["id,url", *lines]) + "\n")
        source = {"manifest": {"url": str(manifest)}}
        answer = run_documents(*documents_of("lease", demo_model.steps(limit={"name": "gpu"}), source, slots=1, parallelism=PROCESSES))
    gpu = answer["limits"]["gpu"]
    lost = (gpu["handOverSeconds"] + gpu["heldSeconds"] - gpu["busySeconds"]) / gpu["busySeconds"]
    hand_over = gpu["handOverSeconds"] / gpu["busySeconds"]
    figures = [
        Figure("images a second", answer["imagesPerSecond"], "images/s"),
        Figure("most holders at once", gpu["maxHolders"], at_most=1),
        Figure(f"Lease writes per image, {gpu['writes']} in {gpu['holds']} holds", gpu["writes"] / IMAGES, at_most=MOST_WRITES),
        Figure("time lost between holders, of inference time", 100 * hand_over, "%", at_most=MOST_PER_CENT),
        Figure("the same with what was idle within holds", 100 * lost, "%", at_most=MOST_PER_CENT),
    ]
    return Measured(figures, {"writesPerImage": gpu["writes"] / IMAGES, "lostToHandOver": hand_over, "lostInAll": lost, **answer})

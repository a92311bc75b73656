"""What the Lease costs a saturated run: 1,000 images through the demo's model in 4 processes that share 1 slot."""

import tempfile
from pathlib import Path
from typing import Any

from bench import demo_model, photos
from bench.runs import documents_of, run_documents

IMAGES, PROCESSES = 1000, 4


def measure() -> dict[str, Any]:
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
    print(
        f"{answer['imagesPerSecond']:.1f} images/s, {gpu['holds']} holds, {gpu['writes']} writes: "
        f"{gpu['writes'] / IMAGES:.4f} per image (at most 0.01); at most {gpu['maxHolders']} holder; "
        f"time lost between holders {100 * hand_over:.3f}% of inference time (at most 1%), with idle time within holds {100 * lost:.3f}%"
    )
    return {"writesPerImage": gpu["writes"] / IMAGES, "lostToHandOver": hand_over, "lostInAll": lost, **answer}

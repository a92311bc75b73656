"""Prefect's example, and its fast variant, against the time that always-busy slots would take."""

import math
from pathlib import Path
from typing import Any

import yaml

from bench.runs import documents_of, run_documents

FILE = Path("bench/prefect_example.yaml")
IMAGES, DOWNLOAD, INFER, SAVE = 20, 1.0, 3.0, 0.5
FAST_IMAGES, FAST_INFER, FAST_SLOTS, FAST_PROCESSES = 100, 0.05, 2, 20


def measure() -> dict[str, Any]:
    """Elapsed time over the ideal for 2, 1 and 4 slots; images a second of the fast variant."""
    results: dict[str, Any] = {}
    for slots in (2, 1, 4):
        documents = list(yaml.safe_load_all(FILE.read_text()))
        next(document for document in documents if document["kind"] == "NodeLimit")["spec"]["slots"] = slots
        answer = run_documents(*documents)
        ideal = DOWNLOAD + math.ceil(IMAGES / slots) * INFER + SAVE
        results[f"slots{slots}"] = _shown(f"{slots} slots", answer, ideal)
    results["fast"] = _fast()
    return results


def _fast() -> dict[str, Any]:
    steps = [
        {
            "name": "infer",
            "call": {"function": "bench.prefect_steps:infer", "arguments": {"seconds": FAST_INFER}},
            "limits": [{"name": "gpu", "hold": "0s"}],
        }
    ]
    urls = [{"id": str(number), "url": f"https://example.com/{number}.jpg"} for number in range(FAST_IMAGES)]
    answer = run_documents(
        *documents_of("fast", steps, {"urls": urls}, slots=FAST_SLOTS, parallelism=FAST_PROCESSES, chunkSize=FAST_IMAGES // FAST_PROCESSES)
    )
    return _shown(f"fast: {FAST_PROCESSES} processes", answer, FAST_IMAGES * FAST_INFER / FAST_SLOTS)


def _shown(name: str, answer: dict[str, Any], ideal: float) -> dict[str, Any]:
    gpu, elapsed = answer["limits"]["gpu"], answer["elapsedSeconds"]
    print(
        f"{name:20} {elapsed:8.3f} s, ideal {ideal:6.2f} s: {elapsed / ideal:.4f} x; {answer['imagesPerSecond']:7.2f} images/s; "
        f"at most {gpu['maxHolders']} holders; "
        f"hand-over p50 {gpu['handOverMs']['p50']} ms, p99 {gpu['handOverMs']['p99']} ms; {gpu['writes']} writes"
    )
    return {"elapsedSeconds": elapsed, "ideal": ideal, "ratio": elapsed / ideal, "imagesPerSecond": answer["imagesPerSecond"], "gpu": gpu}

"""Prefect's example, and its fast variant, against the time that always-busy slots would take."""

import math
from pathlib import Path
from typing import Any

import yaml

from bench.figures import Figure, Measured
from bench.runs import documents_of, run_documents

FILE = Path("bench/prefect_example.yaml")
IMAGES, DOWNLOAD, INFER, SAVE = 20, 1.0, 3.0, 0.5
MOST_RATIO = 1.03
FAST_IMAGES, FAST_INFER, FAST_SLOTS, FAST_PROCESSES = 100, 0.05, 2, 20
LEAST_FAST_RATE = 36


def measure() -> Measured:
    """Elapsed time over the ideal for 2, 1 and 4 slots; images a second of the fast variant; how slots changed hands in all of them."""
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    for slots in (2, 1, 4):
        documents = list(yaml.safe_load_all(FILE.read_text()))
        next(document for document in documents if document["kind"] == "NodeLimit")["spec"]["slots"] = slots
        answer = run_documents(*documents)
        ideal = DOWNLOAD + math.ceil(IMAGES / slots) * INFER + SAVE
        name = f"{slots} slot{'s' if slots > 1 else ''}"
        ratio = answer["elapsedSeconds"] / ideal
        figures.append(Figure(f"{name}: {answer['elapsedSeconds']:.3f} s over the ideal {ideal:g} s", ratio, at_most=MOST_RATIO))
        # All but the first holders waited: the ten processes want more than there is, all the time.
        figures += _of_the_limit(name, answer, slots, IMAGES - slots)
        details[f"slots{slots}"] = {**_kept(answer), "ideal": ideal, "ratio": ratio}
    answer = _fast()
    ideal = FAST_IMAGES * FAST_INFER / FAST_SLOTS
    rate = answer["imagesPerSecond"]
    figures.append(Figure(f"fast, {FAST_PROCESSES} processes, ideal {FAST_IMAGES / ideal:g}", rate, "images/s", at_least=LEAST_FAST_RATE))
    figures += _of_the_limit("fast", answer, FAST_SLOTS)
    details["fast"] = {**_kept(answer), "ideal": ideal, "ratio": answer["elapsedSeconds"] / ideal}
    return Measured(figures, details)


def _fast() -> dict[str, Any]:
    steps = [
        {
            "name": "infer",
            "call": {"function": "bench.prefect_steps:infer", "arguments": {"seconds": FAST_INFER}},
            "limits": [{"name": "gpu", "hold": "0s"}],
        }
    ]
    urls = [{"id": str(number), "url": f"https://example.com/{number}.jpg"} for number in range(FAST_IMAGES)]
    return run_documents(
        *documents_of("fast", steps, {"urls": urls}, slots=FAST_SLOTS, parallelism=FAST_PROCESSES, chunkSize=FAST_IMAGES // FAST_PROCESSES)
    )


def _of_the_limit(name: str, answer: dict[str, Any], slots: int, hand_overs: int | None = None) -> list[Figure]:
    gpu = answer["limits"]["gpu"]
    return [
        Figure(f"{name}: most holders at once", gpu["maxHolders"], at_most=slots),
        Figure(f"{name}: hand-overs measured", gpu["handOvers"], at_least=hand_overs),
        *(Figure(f"{name}: hand-over, {part}", ms, "ms") for part, ms in gpu["handOverMs"].items() if ms is not None),
    ]


def _kept(answer: dict[str, Any]) -> dict[str, Any]:
    return {"elapsedSeconds": answer["elapsedSeconds"], "imagesPerSecond": answer["imagesPerSecond"], "gpu": answer["limits"]["gpu"]}

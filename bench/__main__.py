"""Runs the measurements: ``make bench``, or ``python -m bench NAME...`` for some of them."""

import argparse
import importlib
import json
import os
import platform
import sys
from pathlib import Path

from bench.figures import Measured

BENCHES = {
    "prefect": "Prefect's example with 2, 1 and 4 slots, and its fast variant, against the ideal",
    "lease": "writes per image and time lost to the Lease: 1,000 images, 4 processes, 1 slot",
    "handover": "a slot's way from process to process on a real API server, against a bare write's way to a watch",
    "operator_memory": "the operator's memory with 1,200 ImageJobs of the largest size and 10,000 small ones, and at a restart over them",
    "decode": "decode + resize against a bare Pillow loop",
    "engine": "tiny pictures and a free model, against a loop in one thread: what moving an image through the stages costs",
    "decodebound": "500x375 photos and a free model, against bare Pillow on as many threads and in as many processes",
    "throughput": "the runner against a bare torch loop over tensors that are decoded already",
    "gpu": "how near to its limit a GPU is kept, against DataLoader scripts; without a GPU in a small form that only shows that it works",
    "million": "a million inputs: planning, verify and show, each within a minute and 300 MB",
    "outofbox": "600 mixed photos with no setting by the user, against a plain torch DataLoader script",
}
OUT = Path("bench/out")


def main() -> None:
    """Runs what is named, prints the figures, and writes bench/out/results.json; ends with 1 if a goal was missed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures imagejob on this machine.",
        epilog="\n".join(f"  {name:12} {what}" for name, what in BENCHES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to measure (default: all)")
    names = parser.parse_args().names or list(BENCHES)
    unknown = sorted(set(names) - set(BENCHES))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    OUT.mkdir(parents=True, exist_ok=True)
    results_file = OUT / "results.json"
    results = json.loads(results_file.read_text()) if results_file.exists() else {}
    print(f"{platform.platform()}, {len(os.sched_getaffinity(0))} CPUs, Python {platform.python_version()}")
    missed: list[str] = []
    for name in names:
        print(f"\n== {name}: {BENCHES[name]}")
        measured: Measured = importlib.import_module(f"bench.{name}").measure()
        print(*measured.figures, sep="\n")
        missed += [f"  {name}: {' '.join(str(figure).split())}" for figure in measured.figures if figure.missed]
        results[name] = measured.as_json()
        results_file.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\nAll figures: {results_file}")
    if missed:
        print("\nMissed goals:", *missed, sep="\n")
        sys.exit(1)


if __name__ == "__main__":
    main()

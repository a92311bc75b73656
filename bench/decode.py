"""Decode + resize against a bare Pillow loop, side by side in one run.

Both sides decode the same JPEGs, made from real photos, on the same number of threads. The bare loop is the least that anyone would write:
open, draft, convert, resize to 224x224. Ours is what an image of a job goes through: probe, decode with all its checks, crop and scale to
the model's array. Rounds alternate, and the best round of each side counts, so that a busy machine disturbs both alike.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from io import BytesIO

from PIL import Image

from bench.figures import Figure, Measured
from imagejob_api.pipeline import Decode, Preprocess
from imagejob_runner.images.decode import decode, probe
from imagejob_runner.images.preprocess import to_array
from imagejob_runner.images.transform import draft_target

SIZE = 224
LEAST_ROUNDS = 3
LEAST_RATIO = 0.9
SIZES = ((500, 375), (1600, 1200))
PHOTOS = (
    ("sklearn.datasets.images", "china.jpg"),
    ("sklearn.datasets.images", "flower.jpg"),
    ("skimage.data", "astronaut.png"),
    ("skimage.data", "coffee.png"),
)

DECODE = Decode()
PREPROCESS = Preprocess(size=SIZE)
TARGET = draft_target(PREPROCESS)


def bare(data: bytes) -> None:
    """The least that does the job."""
    image = Image.open(BytesIO(data))
    image.draft("RGB", (SIZE, SIZE))
    image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def ours(data: bytes) -> None:
    """The way of an image in a job."""
    probe(data, DECODE, TARGET)
    to_array(decode(data, DECODE, TARGET), PREPROCESS)


def photos(size: tuple[int, int]) -> list[bytes]:
    """Real photos as JPEGs of `size` in pixels."""
    files = []
    for package, name in PHOTOS:
        with resources.files(package).joinpath(name).open("rb") as file:
            image = Image.open(file).convert("RGB").resize(size, Image.Resampling.LANCZOS)
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    return files


def rate(work: Callable[[bytes], None], files: Sequence[bytes], pool: ThreadPoolExecutor) -> float:
    """Images a second over `files`."""
    start = time.perf_counter()
    for _ in pool.map(work, files):
        pass
    return len(files) / (time.perf_counter() - start)


def measure(threads: int | None = None, seconds: float = 3.0) -> Measured:
    """Images a second of both sides for each size, and their ratio.

    Args:
        threads: Threads of each side; all CPUs unless given.
        seconds: Time for each size.
    """
    threads = threads or len(os.sched_getaffinity(0))
    figures, sizes = [], []
    with ThreadPoolExecutor(threads) as pool:
        for size in SIZES:
            files = photos(size) * 8
            rates: dict[str, list[float]] = {"bare": [], "ours": []}
            end = time.monotonic() + seconds
            while time.monotonic() < end or len(rates["ours"]) < LEAST_ROUNDS:
                rates["bare"].append(rate(bare, files, pool))
                rates["ours"].append(rate(ours, files, pool))
            best = {side: max(values) for side, values in rates.items()}
            ratio = best["ours"] / best["bare"]
            name = f"{size[0]}x{size[1]}, {threads} threads"
            figures += [Figure(f"{name}: {side}", best[side], "images/s") for side in best]
            figures.append(Figure(f"{name}: ours against bare", ratio, at_least=LEAST_RATIO))
            rounded = {"barePerSecond": round(best["bare"], 1), "oursPerSecond": round(best["ours"], 1), "ratio": round(ratio, 3)}
            sizes.append({"width": size[0], "height": size[1], **rounded})
    return Measured(figures, {"threads": threads, "sizes": sizes})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Decode + resize against a bare Pillow loop.")
    parser.add_argument("--threads", type=int, help="threads of each side (default: all CPUs)")
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each size")
    print(*measure(**vars(parser.parse_args())).figures, sep="\n")

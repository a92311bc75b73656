"""The pool of worker processes against a plain loop over the same files, side by side in one run.

The loop is the least that anyone would write for one image: open, draft, convert, resize, to an array. The pool does what an image of a job
goes through: reading, hash, all checks, the model's input in shared memory. Rounds alternate; medians count. The CPU time of an image is
told besides: on a machine that does something else, too, it is what can be compared.
"""

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bench.decode import photos
from bench.figures import Figure, Measured
from imagejob_api.pipeline import Decode, Download, Preprocess, Step, Transform
from imagejob_runner.images.probe import Probe
from imagejob_runner.preparation.messages import Request
from imagejob_runner.preparation.pool import PreparationPool
from imagejob_runner.preparation.recipe import PreparationRecipe
from imagejob_runner.urls import file_url

CASES = (((32, 32), 32, 2000), ((500, 375), 224, 200))
"""Size of the files, side of the model's input, images in a round."""
SLOTS = 512
MANY = 1 << 28


def loop(paths: Sequence[Path], side: int, count: int) -> None:
    """The least that does the job."""
    for number in range(count):
        with Image.open(paths[number % len(paths)]) as image:
            image.draft("RGB", (side, side))
            np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))


async def through(pool: PreparationPool, urls: Sequence[str], count: int) -> None:
    """So many images through the pool, which is kept full."""
    sent = done = 0
    while done < count:
        if more := min(pool.free, count - sent):
            pool.submit([Request(number, urls[number % len(urls)]) for number in range(sent, sent + more)])
            sent += more
        prepared = await pool.take()
        done += len(prepared)
        pool.release([one.number for one in prepared])


@contextlib.asynccontextmanager
async def permit(_number: int, _probe: Probe) -> AsyncIterator[None]:
    """Nothing here is large."""
    yield


async def compare(folder: Path, size: tuple[int, int], side: int, count: int, workers: int, rounds: int) -> list[Figure]:
    """Figures of one case."""
    paths = []
    for number, data in enumerate(photos(size)):
        paths.append(folder / f"{size[0]}-{number}.jpg")
        paths[-1].write_bytes(data)
    urls = list(map(file_url, paths))
    steps = Step(name="get", download=Download()), Step(name="look", transform=Transform())
    recipe = PreparationRecipe(Download(), steps[0], Decode(), (), Preprocess(size=side), keep_image=False, decode_step=steps[1])
    wall: dict[str, list[float]] = {"loop": [], "pool": []}
    cpu: dict[str, list[float]] = {"loop": [], "workers": [], "runner": []}
    async with PreparationPool(recipe, workers=workers, slots=SLOTS, max_bytes=MANY, max_decoded=MANY, large=MANY, permit=permit) as pool:
        await through(pool, urls, SLOTS)
        for _ in range(rounds):
            begun, used = time.perf_counter(), time.process_time()
            loop(paths, side, count)
            wall["loop"].append((time.perf_counter() - begun) / count)
            cpu["loop"].append((time.process_time() - used) / count)
            begun, used, busy = time.perf_counter(), time.process_time(), pool.busy_seconds
            await through(pool, urls, count)
            wall["pool"].append((time.perf_counter() - begun) / count)
            cpu["runner"].append((time.process_time() - used) / count)
            cpu["workers"].append((pool.busy_seconds - busy) / count)
    name = f"{size[0]}x{size[1]}, {workers} workers"
    middle = {side: statistics.median(values) for side, values in {**wall, **{f"{who} CPU": some for who, some in cpu.items()}}.items()}
    return [
        Figure(f"{name}: loop in one thread", 1 / middle["loop"], "images/s"),
        Figure(f"{name}: pool", 1 / middle["pool"], "images/s"),
        Figure(f"{name}: pool against loop", middle["loop"] / middle["pool"]),
        Figure(f"{name}: CPU of an image, loop", 1e6 * middle["loop CPU"], "us"),
        Figure(f"{name}: CPU of an image, workers", 1e6 * middle["workers CPU"], "us"),
        Figure(f"{name}: CPU of an image, runner", 1e6 * middle["runner CPU"], "us"),
    ]


def measure(workers: int = 1, rounds: int = 5) -> Measured:
    """All cases with so many workers."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for size, side, count in CASES:
            figures += asyncio.run(compare(Path(folder), size, side, count, workers, rounds))
    return Measured(figures, {"workers": workers})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The pool of worker processes against a plain loop.")
    parser.add_argument("--workers", type=int, default=1, help="worker processes")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side")
    print(*measure(**vars(parser.parse_args())).figures, sep="\n")

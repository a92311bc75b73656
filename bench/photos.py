"""Photos in the sizes that people have, made from real ones that scikit-image and scikit-learn ship, or from nothing but numbers."""

import os
import random
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

FOLDER: Final = Path("bench/out/photos")
MIX: Final = ((400, (500, 375)), (150, (1600, 1200)), (50, (4000, 3000)))
"""Number and size in pixels of the photos in the mixed set."""
_NAMES: Final = (
    ("skimage", "data/coffee.png"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/rocket.jpg"),
    ("skimage", "data/astronaut.png"),
)
_FEW: Final = 100
"""So few photos are made before other processes could begin to help."""
_OCTAVES: Final = range(2, 9)
_CONTRAST: Final = 110.0
_GRAIN: Final = 6.5
_MORE: Final = (("sklearn", "datasets/images/china.jpg"), ("sklearn", "datasets/images/flower.jpg"))


def mixed() -> Path:
    """A folder of 600 mixed JPEGs, each cut out of another place of a real photo; made once."""
    folder = FOLDER / "mixed"
    done = folder / ".done"
    if done.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    originals = _originals()
    sizes = [size for count, size in MIX for _ in range(count)]
    random.Random(0).shuffle(sizes)  # noqa: S311  the same mix every time
    for number, size in enumerate(sizes):
        _cut(originals[number % len(originals)], number, size).save(folder / f"{number:04d}-{size[0]}x{size[1]}.jpg", quality=90)
    done.touch()
    return folder


def small(copies: int = 1) -> Path:
    """A folder of the 500 x 375 photos only, each as often as there are copies; made once."""
    folder = FOLDER / f"small-{copies}"
    if not folder.exists():
        part = FOLDER / f"small-{copies}.part"
        source = mixed()
        part.mkdir(exist_ok=True)
        for path in source.glob("*-500x375.jpg"):
            for copy in range(copies):
                shutil.copyfile(path, part / f"{copy}-{path.name}")
        part.rename(folder)
    return folder


def tiny(count: int, side: int) -> Path:
    """A folder of square JPEGs of `side` pixels, each cut out of another place of a real photo; made once."""
    folder = FOLDER / f"tiny-{count}-{side}"
    if not folder.exists():
        part = FOLDER / f"{folder.name}.part"
        part.mkdir(parents=True, exist_ok=True)
        originals = _originals()
        for number in range(count):
            photo = originals[number % len(originals)]
            left, top = number * 7 % (photo.width - 4 * side), number * 11 % (photo.height - 4 * side)
            picture = photo.resize((side, side), Image.Resampling.BICUBIC, box=(left, top, left + 4 * side, top + 4 * side))
            picture.save(part / f"{number:05d}.jpg", quality=90)
        part.rename(folder)
    return folder


def synthesised(count: int, size: tuple[int, int]) -> Path:
    """A folder of JPEGs of that size in pixels that are as much work as photos are, the same on every machine; made once."""
    folder = FOLDER / f"synthesised-{count}-{size[0]}x{size[1]}"
    if not folder.exists():
        part = FOLDER / f"{folder.name}.part"
        part.mkdir(parents=True, exist_ok=True)
        make, numbers = partial(_synthesise, part, size), range(count)
        if count <= _FEW:
            list(map(make, numbers))
        else:
            with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("forkserver")) as processes:
                list(processes.map(make, numbers, chunksize=8))
        part.rename(folder)
    return folder


def _synthesise(folder: Path, size: tuple[int, int], number: int) -> None:
    """Noise at all scales, each of half the contrast of the one twice as coarse, as in nature; and the grain of a sensor."""
    noise = np.random.default_rng(number)
    pixels = 128 + noise.normal(0, _GRAIN, (size[1], size[0], 3)).astype(np.float32)
    for octave in _OCTAVES:
        cells = noise.integers(0, 256, (2**octave * 3 // 4, 2**octave, 3), dtype=np.uint8)
        layer = np.asarray(Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
        pixels += (layer - 128) * (_CONTRAST / 128 / 2 ** (octave - _OCTAVES.start))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:05d}.jpg", quality=88)


def _originals() -> list[Image.Image]:
    return [Image.open(str(files(package) / path)).convert("RGB") for package, path in (*_NAMES, *_MORE)]


def _cut(photo: Image.Image, number: int, size: tuple[int, int]) -> Image.Image:
    width, height = photo.size
    shift = number % 17 / 100
    box = (int(width * shift / 2), int(height * shift / 3), int(width * (1 - shift / 4)), int(height * (1 - shift / 5)))
    return photo.resize(size, Image.Resampling.BICUBIC, box=box)

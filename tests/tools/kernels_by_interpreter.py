"""Runs the kernels by Triton's interpreter, which must be asked for before anything loads Triton, and compares with Pillow.

Prints a line for each filter and method: their names, and the numbers of pictures that are not equal to Pillow's to the bit.
"""

import os

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np
import torch
from PIL import Image

from imagejob_api.pipeline import Preprocess
from imagejob_runner.device import resize as resizing
from imagejob_runner.device.geometry import scaling
from imagejob_runner.device.picture import Picture
from imagejob_runner.device.resize import resize
from imagejob_runner.images.decode import TRANSPOSE
from imagejob_runner.images.preprocess import to_array

NOISE = np.random.default_rng(3).integers(0, 256, (100, 100, 3), dtype=np.uint8)
SHAPES = ((31, 47, 1), (75, 40, 6), (30, 90, 3), (9, 13, 8))
"""Width, height and EXIF orientation."""
WAYS = (("bicubic", "crop"), ("bicubic", "pad"), ("bilinear", "squash"), ("lanczos", "crop"))
SIZE, BACKGROUND = 20, 255


def differing(preprocess: Preprocess) -> list[int]:
    """Which pictures of a batch differ; the last number is of an input that is to be left alone."""
    # In rows that are longer than the picture, as decoders make them.
    arrays = [NOISE[:height, :width] for width, height, _ in SHAPES]
    pictures = [
        Picture(array.ctypes.data, width, height, array.strides[0], array) for array, (width, height, _) in zip(arrays, SHAPES, strict=True)
    ]
    how = [scaling(width, height, orientation, preprocess) for width, height, orientation in SHAPES]
    places = [*range(1, len(SHAPES)), 0]
    batch = torch.full((len(SHAPES) + 1, SIZE, SIZE, 3), BACKGROUND, dtype=torch.uint8)
    resize(pictures, [each for each in how if each is not None], batch, places, preprocess)
    expected = np.full(batch.shape, BACKGROUND, np.uint8)
    for array, (_, _, orientation), place in zip(arrays, SHAPES, places, strict=True):
        image = Image.fromarray(array)
        expected[place] = to_array(image.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else image, preprocess)
    return [number for number, (found, want) in enumerate(zip(batch.numpy(), expected, strict=True)) if not np.array_equal(found, want)]


def main() -> None:
    """Compares in each of the ways."""
    # The interpreter's time goes by programs, not by what they work on.
    resizing._LINES = resizing._LANES = 128
    for name, method in WAYS:
        print(name, method, *differing(Preprocess.model_validate({"size": SIZE, "resize": method, "filter": name})))  # noqa: T201


if __name__ == "__main__":
    main()

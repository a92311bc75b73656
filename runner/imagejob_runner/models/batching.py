"""How many images a batch holds where `batchSize` is not set; known before a model is loaded, and without loading torch."""

import os
from pathlib import Path
from typing import Final

from imagejob_api.pipeline import Infer
from imagejob_runner.process import cpu_count

_GPU_IMAGES: Final = 256
"""From here on a ResNet-50 on an H200 gains nothing from larger batches."""
_CPU_IMAGES: Final = 32
_THREAD_IMAGES: Final = 8
_PASS_IMAGES: Final = 16
_PASS_SIZE: Final = 224
"""Images in one forward pass on a CPU: so many of this size, and for each thread at least so many. Measured with EfficientNet-Lite0 on one
and two threads (images a second with 4, 8, 16 and 32 images: 60, 57, 62, 59 and 70, 78, 91, 87): smaller passes pay for starting each
layer, larger ones leave the caches and need more memory."""
_PIXELS: Final = 1 << 26
"""Of all inputs of a batch: 256 of 512x512, 64 of 1024x1024."""
_DEVICES: Final = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
"""What NVIDIA's driver shows where there is a GPU: on Linux, and in Windows' Linux."""


def batch_size(infer: Infer) -> int:
    """Largest batch of a step on this machine: what is set, or the default for its device."""
    if infer.batch_size is not None:
        return infer.batch_size
    gpu = sees_gpu() if infer.device == "auto" else infer.device.startswith("cuda")
    return default_batch(infer.preprocess.size, threads=infer.threads or cpu_count(), gpu=gpu)


def default_batch(size: int, *, threads: int, gpu: bool) -> int:
    """Images in a batch where none are named.

    Args:
        size: Side of the model's input in pixels.
        threads: Of a forward pass on a CPU.
        gpu: Whether the model runs on a GPU; a power of two then.
    """
    most = _power_of_two(max(1, _PIXELS // size**2))
    return min(most, _GPU_IMAGES if gpu else max(_CPU_IMAGES, _THREAD_IMAGES * threads))


def cpu_pass(size: int, threads: int) -> int:
    """Images in one forward pass on a CPU, which may be fewer than in a batch.

    Args:
        size: Side of the model's input in pixels.
        threads: Of the pass.
    """
    return max(_PASS_IMAGES, _THREAD_IMAGES * threads) * max(1, (_PASS_SIZE // size) ** 2)


def sees_gpu() -> bool:
    """Whether this process is likely to have a GPU: a guess without torch, good enough to choose by and no more."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1") and any(device.exists() for device in _DEVICES)


def _power_of_two(number: int) -> int:
    """The largest one that is not above `number`."""
    return 1 << (number.bit_length() - 1)

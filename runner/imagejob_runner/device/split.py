"""Which JPEGs a GPU decodes and which the CPUs, where both can: so many go to the GPU as it decodes while the CPUs decode the rest.

Large ones are the CPUs' first: libjpeg scales them down while it decodes, and a GPU does not. A GPU that is decoding computes nothing, so
that it is handed no more than it gets through while the CPUs are at work anyway.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_GPU_PICTURE: Final = 13e-6
_GPU_PIXEL: Final = 0.125e-9
"""Seconds on an H200 by nvJPEG: 27,800 pictures a second of 500x375, 3,576 of 1600x1200, 669 of 4000x3000."""
_CPU_PIXEL: Final = 0.6e-9
_CPU_KEPT_PIXEL: Final = 26e-9
"""Seconds on one of that machine's CPUs by Pillow, of a pixel of the file and of one that is decoded: 187 of 500x375 a second in full,
255 of 1600x1200 to a half, 74 of 4000x3000 to a quarter. Faster machines have faster GPUs too: it is the ratio that counts."""
_AHEAD: Final = 2
"""Batches that may be waiting: one that is collected, and one behind it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What decoding a picture takes."""

    gpu: float
    """Seconds of the GPU."""
    cpu: float
    """Seconds of a CPU."""


def cost(width: int, height: int, target: tuple[int, int] | None) -> Cost:
    """What decoding a picture takes.

    Args:
        width: Of the file, in pixels.
        height: Of the file.
        target: Smallest width and height that libjpeg may scale it down to while decoding; None if it may not.
    """
    pixels = width * height
    kept = pixels / _draft(width, height, target) ** 2
    return Cost(_GPU_PICTURE + _GPU_PIXEL * pixels, _CPU_PIXEL * pixels + _CPU_KEPT_PIXEL * kept)


def _draft(width: int, height: int, target: tuple[int, int] | None) -> int:
    if target is None:
        return 1
    return next((scale for scale in (8, 4, 2) if width >= scale * target[0] and height >= scale * target[1]), 1)


class Split:
    """Decides for units of pictures that so many CPUs take as they are free.

    Args:
        cpus: That decode.
        batch: Images in a batch of the model.
        model: Seconds that the GPU needs for an image besides decoding.
    """

    def __init__(self, cpus: int, batch: int, model: float = 0.0) -> None:
        self._cpus, self._batch, self._model = cpus, batch, model

    def to_gpu(self, unit: Sequence[Cost], waiting: float) -> list[bool]:
        """Which pictures of a unit the GPU decodes: as many as all CPUs may hand it while each decodes the rest of such a unit.

        Args:
            unit: What each takes.
            waiting: Seconds of decoding that the GPU was handed before and is not through with.
        """
        chosen = [False] * len(unit)
        gpu, cpu = self._model * len(unit), sum(each.cpu for each in unit)
        # It always has something to do, and never much.
        spare = _AHEAD * self._batch * sum(each.gpu for each in unit) / max(1, len(unit)) - waiting
        for place in sorted(range(len(unit)), key=lambda place: unit[place].gpu / unit[place].cpu):
            gpu, cpu = gpu + unit[place].gpu, cpu - unit[place].cpu
            if self._cpus * gpu > cpu + spare:
                break
            chosen[place] = True
        return chosen

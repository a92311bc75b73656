"""Which JPEGs a GPU decodes and which the CPUs, where both can: so many go to the GPU as it decodes while the CPUs decode the rest.

Large ones are the CPUs' first: libjpeg scales them down while it decodes, and a GPU does not. A GPU that is decoding computes nothing, so
that it is handed no more than it gets through while the CPUs are at work anyway.
"""

from collections import deque
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
_RECENT: Final = 64
"""Pictures from which is told what others will be like."""
_STARVED: Final = 1.0
_FED: Final = 3.0
"""Batches that wait for the GPU, or are at it, below which it is handed all, and from which on nothing."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What decoding a picture takes."""

    gpu: float
    """Seconds of the GPU."""
    cpu: float
    """Seconds of a CPU."""

    @property
    def ratio(self) -> float:
        """How little it suits the GPU."""
        return self.gpu / self.cpu


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
    """Decides for the pictures that one of several CPUs takes up, one after the other.

    Args:
        cpus: That decode.
        batch: Images in a batch of the model.
        model: Seconds that the GPU needs for an image besides decoding.
    """

    def __init__(self, cpus: int, batch: int, model: float = 0.0) -> None:
        self._cpus, self._batch, self._model = cpus, batch, model
        self._recent: deque[Cost] = deque(maxlen=_RECENT)
        self._due = 0.0
        """Part of a picture that the GPU is owed."""

    def to_gpu(self, pictures: Sequence[Cost], waiting: float) -> list[bool]:
        """Which of the next pictures the GPU decodes.

        Args:
            pictures: What each takes.
            waiting: Seconds of decoding that the GPU was handed before and is not through with.
        """
        chosen = []
        for picture in pictures:
            self._recent.append(picture)
            self._due += self._part(picture, waiting)
            chosen.append(self._due >= 1)
            if chosen[-1]:
                self._due -= 1
                waiting += picture.gpu
        return chosen

    def _part(self, picture: Cost, waiting: float) -> float:
        """How many of pictures like this one the GPU should have: 0 to 1.

        Of pictures like the recent ones it gets as many as all CPUs may hand it while each decodes the rest, and first those that cost it
        least and the CPUs most.
        """
        before = [each for each in self._recent if each.ratio < picture.ratio]
        alike = [each for each in self._recent if each.ratio == picture.ratio]
        gpu = self._model * len(self._recent) + sum(each.gpu for each in before)
        cpu = sum(each.cpu for each in self._recent) - sum(each.cpu for each in before)
        share = (cpu - self._cpus * gpu) / sum(self._cpus * each.gpu + each.cpu for each in alike)
        # What was measured on one machine is not true of all: what is waiting tells whether this GPU gets through more or less.
        ahead = waiting * len(self._recent) / (self._batch * sum(each.gpu for each in self._recent))
        if ahead < _STARVED:
            return 1.0
        return max(0.0, min(1.0, share) * min(1.0, _FED - ahead))

"""Images on their way to a device: gathered into one block of the host's memory, which the device takes when it comes to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import torch

Images = Sequence[np.ndarray] | np.ndarray
"""Arrays of type uint8 and shape (size, size, 3), or one of shape (images, size, size, 3)."""

Wait = Callable[[], None]

T = TypeVar("T")

_BUFFERS: Final = 3
"""One that is being filled, one that is being copied, and one for a batch that waits behind it."""


def gather(images: Images, least: int = 1) -> torch.Tensor:
    """All images as one tensor of shape (images, size, size, 3); the memory of an array that is one already.

    Args:
        images: One or more.
        least: Fewest that a model takes; the last one is repeated up to it.
    """
    if isinstance(images, np.ndarray) and len(images) >= least and images.flags.c_contiguous and images.flags.writeable:
        return torch.from_numpy(images)
    return torch.from_numpy(np.stack([*images, *[images[-1]] * (least - len(images))]))


class Staging:
    """A few blocks of memory in turn, none of which is written before the device has taken what it held.

    Args:
        allocate: Makes a block of the given shape, type uint8, that the device can copy from by itself.
    """

    def __init__(self, allocate: Callable[[Sequence[int]], torch.Tensor]) -> None:
        self._allocate = allocate
        self._buffers = [_Buffer() for _ in range(_BUFFERS)]
        self._next = 0

    def send(self, images: Images, least: int, copy: Callable[[torch.Tensor], tuple[T, Wait]]) -> T:
        """Gathers images into the next block and begins to copy it. Not to be called by two threads at once.

        Args:
            images: One or more.
            least: As of `gather`.
            copy: Begins to copy a block, of shape (images, size, size, 3), to the device; returns what it becomes there, and what waits
                until it has been taken.
        """
        buffer = self._buffers[self._next]
        self._next = (self._next + 1) % _BUFFERS
        buffer.wait()
        block = self._filled(buffer, images, least)
        sent, buffer.wait = copy(block)
        return sent

    def _filled(self, buffer: "_Buffer", images: Images, least: int) -> torch.Tensor:
        count = max(len(images), least)
        if buffer.memory is None or len(buffer.memory) < count:
            buffer.memory = None  # before the larger one is made
            buffer.memory = self._allocate((count, *images[0].shape))
        block = buffer.memory[:count]
        array = block.numpy()
        if isinstance(images, np.ndarray):
            array[: len(images)] = images
        else:
            np.stack(images, out=array[: len(images)])
        array[len(images) :] = images[-1]
        return block


def _nothing() -> None:
    """Nothing is under way."""


@dataclass(slots=True)
class _Buffer:
    memory: torch.Tensor | None = None
    wait: Wait = _nothing

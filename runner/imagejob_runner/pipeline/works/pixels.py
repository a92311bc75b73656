"""The `transform` step, and what prepares a picture for a model."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from imagejob_api.pipeline import Decode, Operation, Preprocess
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError
from imagejob_runner.images import decode as decoding
from imagejob_runner.images import preprocess as preprocessing
from imagejob_runner.images import transform
from imagejob_runner.pipeline.flight import Flight
from imagejob_runner.pipeline.works.base import Memory, PlainWork, in_thread


class PixelWork(PlainWork):
    """Decodes, changes shape, and makes the model's input if a model comes next.

    Args:
        decode: How bytes become pixels.
        operations: Changes in order.
        preprocess: Of the `infer` step that comes right after, whose input is made here so that it is ready before a slot is held.
        keep_image: Whether a later step still needs the picture.
        threads: Where the work is done.
        memory: Budgets.
    """

    def __init__(
        self,
        decode: Decode,
        operations: list[Operation],
        preprocess: Preprocess | None,
        *,
        keep_image: bool,
        threads: ThreadPoolExecutor,
        memory: Memory,
    ) -> None:
        self._decode, self._operations, self._preprocess = decode, operations, preprocess
        self._keep_image = keep_image
        self._threads, self._memory = threads, memory
        hint = operations or (preprocess if not keep_image else None)
        self._target = transform.draft_target(hint) if hint else None

    async def run(self, flight: Flight) -> None:
        """Turns `item.data` (or `item.image`) into `item.image` and `item.array`."""
        item = flight.item
        if item.image is None:
            if item.data is None:
                raise ImageError(ErrorCode.INTERNAL, "there is neither data nor a picture to work on: put a download step first")
            probe = await in_thread(self._threads, decoding.probe, item.data, self._decode, self._target)
            if not flight.held_pixels:
                self._memory.hold_pixels(flight, probe.decoded_pixels)
            item.provenance.update(
                format=probe.format, width=probe.width, height=probe.height, draft=probe.decoded_pixels < probe.width * probe.height
            )
        # The image changes only here: an attempt that is cut leaves it as it was for the next one.
        item.image, item.array = await in_thread(self._threads, self._work, item.data, item.image)
        item.data = None
        kept = 0
        if item.image is not None:
            kept += item.image.width * item.image.height
        if item.array is not None:
            kept += item.array.shape[0] * item.array.shape[1]
        await self._memory.pixels.give_back(flight.chunk.sequence, flight.held_pixels - kept)
        flight.held_pixels = kept
        await self._memory.bytes.give_back(flight.chunk.sequence, flight.held_bytes)
        flight.held_bytes = 0

    def _work(self, data: bytes | None, image: Image.Image | None) -> tuple[Image.Image | None, np.ndarray | None]:
        """The picture, if it is kept, and the model's input, if there is a model."""
        if image is None:
            assert data is not None  # noqa: S101  checked by run
            image = decoding.decode(data, self._decode, self._target)
        image = transform.apply(image, self._operations, self._decode.background)
        if self._preprocess is None:
            return image, None
        array = preprocessing.to_array(image, self._preprocess, self._decode.background)
        return image if self._keep_image else None, array

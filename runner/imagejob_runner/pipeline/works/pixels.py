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
from imagejob_runner.images.memory import RGB_BYTES
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
            await self._decode_within_bounds(flight)
        else:
            # The image changes only here: an attempt that is cut leaves it as it was for the next one.
            item.image, item.array = await in_thread(self._threads, self._work, None, item.image)
        kept = 0
        if item.image is not None:
            kept += RGB_BYTES * item.image.width * item.image.height
        if item.array is not None:
            kept += item.array.nbytes
        await self._memory.decoded.give_back(flight.chunk.sequence, flight.held_memory - kept)
        flight.held_memory = kept
        await self._memory.bytes.give_back(flight.chunk.sequence, flight.held_bytes)
        flight.held_bytes = 0

    async def _decode_within_bounds(self, flight: Flight) -> None:
        item, memory = flight.item, self._memory
        if item.data is None:
            raise ImageError(ErrorCode.INTERNAL, "there is neither data nor a picture to work on: put a download step first")
        probe = await in_thread(self._threads, decoding.probe, item.data, self._decode, self._target)
        item.provenance.update(format=probe.format, width=probe.width, height=probe.height, draft=probe.draft)
        large = probe.memory >= memory.large
        if large:
            memory.suspects.check_room(flight, probe.memory)
        if not flight.held_memory:
            memory.hold_decoded(flight, probe.memory)
        memory.let_in(flight, alone=large)
        try:
            if large:
                await memory.suspects.begin(flight, probe.memory)
            item.image, item.array = await in_thread(self._threads, self._work, item.data, None)
            item.data = None
        finally:
            await memory.let_out(flight)
            await memory.suspects.end(flight)

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

"""The `save` step."""

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor

from imagejob_api.pipeline import DerivedImage
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError
from imagejob_runner.images.encode import encode
from imagejob_runner.output import derived_image_name
from imagejob_runner.pipeline.flight import Flight
from imagejob_runner.pipeline.works.base import PlainWork
from imagejob_runner.storage import OutputStore


class SaveWork(PlainWork):
    """Writes the derived image; the row itself is committed with its chunk."""

    def __init__(self, name: str, derived: DerivedImage, output: OutputStore, threads: ThreadPoolExecutor) -> None:
        self._name, self._derived = name, derived
        self._output, self._threads = output, threads

    async def run(self, flight: Flight) -> None:
        """Encodes and puts the image under a name made from the id; the row says what it must be."""
        item = flight.item
        if item.image is None:
            raise ImageError(ErrorCode.INTERNAL, f"step {self._name} has no picture to save: put a transform step before it")
        data = await asyncio.get_running_loop().run_in_executor(self._threads, encode, item.image, self._derived)
        name = derived_image_name(item.id, self._derived.format)
        await self._output.replace(name, data)
        item.outputs[self._name] = {"image": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}

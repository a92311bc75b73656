"""The `infer` step: a predictor on threads of its own."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from imagejob_api.pipeline import Decode, Infer
from imagejob_runner.exceptions import ImageError
from imagejob_runner.fetch import model_file
from imagejob_runner.models.batching import batch_size
from imagejob_runner.models.forward import Pass
from imagejob_runner.models.inputs import Undecoded
from imagejob_runner.models.labels import IMAGENET
from imagejob_runner.models.predictor import Predictor
from imagejob_runner.pipeline.flight import Flight
from imagejob_runner.pipeline.works.base import Memory, in_thread
from imagejob_runner.planning import PlannedModel
from imagejob_runner.process import share_interpreter


class InferenceWork:
    """Runs batches through a model.

    The model is loaded when the context is entered. There are as many threads as batches at once, and they stay: torch keeps its number of
    threads and CUDA its current device by thread. Another one describes the answers of a batch while the next is running.

    Args:
        name: The step's.
        infer: Its settings.
        planned: What the output was planned with; no other model is loaded.
        memory: Where model inputs are kept.
        concurrency: Batches at once.
        decode: How files become pixels, if the model may be given files; see `decodes`.
    """

    def __init__(
        self, name: str, infer: Infer, planned: PlannedModel | None, memory: Memory, *, concurrency: int, decode: Decode | None = None
    ) -> None:
        self._name, self._infer, self._planned, self._memory, self._decode = name, infer, planned, memory, decode
        self.batch_size: Final = batch_size(infer)
        """Largest batch."""
        self.images_left: Callable[[], int] | None = None
        """Says how many images of this process are still to come; None where nobody knows."""
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix=f"infer-{name}")
        self._describing = ThreadPoolExecutor(1, thread_name_prefix=f"describe-{name}")

    async def __aenter__(self) -> Self:
        share_interpreter()
        self._predictor = await asyncio.get_running_loop().run_in_executor(self._threads, load, self._infer, self._planned, self._decode)
        return self

    @property
    def decodes(self) -> bool:
        """Whether the model's device decodes, so that it may be given files; known when the context is entered."""
        return self._predictor.decodes

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._predictor.close)
        for threads in (self._threads, self._describing):
            threads.shutdown(wait=True, cancel_futures=True)

    @property
    def runs_ahead(self) -> bool:
        """Whether the device works while this process does something else."""
        return self._predictor.device != "cpu"

    async def launch(self, flights: Sequence[Flight]) -> "Batch":
        """Begins to predict; on a GPU it returns before the model has run.

        Args:
            flights: The images, each with a model input; with a file only if `decodes`.

        Raises:
            ModelError: As `Forward.launch`.
            DeviceError: As `Forward.launch`.
        """
        inputs = [each for flight in flights if (each := _input(flight)) is not None]
        return Batch(flights, await in_thread(self._threads, self._predictor.launch, inputs))

    async def settle(self, batch: "Batch") -> None:
        """Waits until the device is through with a batch, doing again what failed: the last thing that needs the step's limits.

        Raises:
            ModelError: As `Pass.settle`.
            DeviceError: As `Pass.settle`.
        """
        await in_thread(self._threads, batch.under_way.settle)
        self._memory.release_inputs(batch.flights)
        self._predictor.consider_compiling(batch.under_way, self.images_left() if self.images_left is not None else None)

    async def finish(self, batch: "Batch") -> list[ImageError | None]:
        """Stores each answer under the step's name; for each image, None or why it fails."""
        answers = await in_thread(self._describing, batch.under_way.answers)
        made_with = {"modelSha256": self._predictor.model_digest, "preprocess": self._predictor.preprocess_fingerprint}
        errors: list[ImageError | None] = []
        for flight, answer, by_device in zip(batch.flights, answers, batch.under_way.decoded, strict=True):
            item = flight.item
            item.array = None
            item.provenance.update(made_with)
            if by_device:
                item.provenance["decodedBy"] = "gpu"
            if isinstance(answer, ImageError):
                errors.append(answer)
            else:
                item.outputs[self._name] = answer
                errors.append(None)
        return errors


def _input(flight: Flight) -> np.ndarray | Undecoded | None:
    if flight.encoded is not None and flight.header is not None:
        return Undecoded(flight.encoded, flight.header)
    return flight.item.array


@dataclass(frozen=True, slots=True)
class Batch:
    """Images that a model is being run over.

    Attributes:
        flights: The images. Their arrays stay as they are until the batch is settled.
        under_way: The pass.
    """

    flights: Sequence[Flight]
    under_way: Pass


def load(infer: Infer, planned: PlannedModel | None, decode: Decode | None = None) -> Predictor:
    """Fetches the weights and loads the model; see `Predictor`.

    Raises:
        ModelError: It cannot be loaded, must not be, or is not the one that was planned.
    """
    url = infer.model.weights or infer.model.program
    weights = model_file(url) if url is not None else None
    labels = model_file(infer.labels) if isinstance(infer.labels, str) and infer.labels != IMAGENET else None
    return Predictor(infer, weights, planned, labels, decode)

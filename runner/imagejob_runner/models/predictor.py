"""What an infer step calls: a batch of arrays in, one answer or one error for each image out.

One image must never take its neighbours down: a failing batch is halved until the culprit is alone, and running out of memory makes
batches smaller for good.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from imagejob_api.pipeline import Infer
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import DeviceError, ImageError, ModelError, RunnerError
from imagejob_runner.images.preprocess import fingerprint
from imagejob_runner.models.device import is_device_error, is_memory_error
from imagejob_runner.models.labels import load_labels
from imagejob_runner.models.network import Network
from imagejob_runner.models.outputs import JsonValue, check_output, describe

logger = logging.getLogger(__name__)

_NO_ROOM: Final = "the model does not fit into the memory that is free; give the pods more, or let fewer share the device"
_NO_DEVICE: Final = "the GPU cannot be used by this process"

Answer = JsonValue | ImageError
"""What `Predictor.predict` says about one image."""


class Predictor:
    """A model that is loaded, checked and ready.

    Loading blocks for seconds; `predict` blocks for the time of the forward pass and may be called from several threads at once.

    Args:
        infer: The step's settings.
        weights: Local file of `infer.model.weights` or `infer.model.program`; None for an architecture that needs none.
        digest: SHA-256 that this file must have, besides `infer.model.sha256`; it is computed and compared before anything is loaded.
        labels: Local file of `infer.labels`, if that is a URL.

    Raises:
        ModelError: The digest differs, or the model or its labels cannot be loaded, must not be, or do not fit each other.
        DeviceError: The device is not there, fails, or has no memory left for the model; on a shared GPU another attempt may find some.
    """

    def __init__(self, infer: Infer, weights: Path | None, digest: str | None, labels: Path | None = None) -> None:
        self.model_digest = _checked_digest(infer, weights, digest)
        """SHA-256 of the weights or the program; of the architecture's name and arguments where there is no file."""
        self.preprocess_fingerprint = fingerprint(infer.preprocess)
        """See `images.preprocess.fingerprint`."""
        self._outputs = infer.outputs
        self._labels = load_labels(infer.labels, labels)
        try:
            self._network = Network(infer, weights)
        except Exception as error:
            if isinstance(error, RunnerError) or not is_device_error(error):
                raise
            raise DeviceError(f"{_NO_ROOM if is_memory_error(error) else _NO_DEVICE}: {_first_line(error)}") from error
        self.device = str(self._network.device)
        """Where the model runs: ``cpu`` or ``cuda:0``."""
        self._batch = self._network.best_batch
        self._try_out(infer.preprocess.size)

    def predict(self, batch: Sequence[np.ndarray]) -> list[Answer]:
        """Runs the model over any number of images.

        Args:
            batch: Arrays of type uint8 and shape (size, size, 3), as made by `images.preprocess.to_array`.

        Returns:
            One entry for each image, in order: its output as described in `models.outputs.describe`, or an ImageError with the code
            InvalidOutput, InferenceFailed or OutOfMemory.

        Raises:
            ModelError: The model's output has a shape that makes no sense; no image can be right.
            DeviceError: The GPU has failed and the process has to be replaced.
        """
        answers: list[Answer] = []
        while len(answers) < len(batch):
            answers += self._attempt(batch[len(answers) : len(answers) + self._batch])
        return answers

    def _attempt(self, images: Sequence[np.ndarray]) -> list[Answer]:
        try:
            output = check_output(self._network(images), len(images), self._outputs, self._labels)
            return describe(output, self._outputs, self._labels)
        except RunnerError:
            raise
        except Exception as error:  # noqa: BLE001  a network may raise anything
            failure = _failure(error)
        # Outside of the handler: it would keep the tensors of the failed pass alive through the next one.
        if failure.code == ErrorCode.OUT_OF_MEMORY:
            self._shrink(len(images))
        if len(images) == 1:
            return [failure]
        half = len(images) // 2
        return self._attempt(images[:half]) + self._attempt(images[half:])

    def _shrink(self, images: int) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        smaller = max(1, images // 2)
        if smaller < self._batch:
            logger.warning("out of memory with %d images at once: going on with batches of %d", images, smaller)
            self._batch = smaller

    def _try_out(self, size: int) -> None:
        """One grey image shows a wrong output or label count before any work is done."""
        (answer,) = self._attempt([np.full((size, size, 3), 128, np.uint8)])
        if isinstance(answer, ImageError) and answer.code == ErrorCode.OUT_OF_MEMORY:
            raise DeviceError(f"{_NO_ROOM}: {answer.message}")
        if isinstance(answer, ImageError) and answer.code != ErrorCode.INVALID_OUTPUT:
            raise ModelError(f"the model fails on a plain grey image: {answer.message}")


def _failure(error: Exception) -> ImageError:
    reason = _first_line(error)
    if is_memory_error(error):
        return ImageError(ErrorCode.OUT_OF_MEMORY, f"not enough memory for a single image: {reason}", retryable=True)
    if is_device_error(error):
        raise DeviceError(f"the GPU cannot be used any more by this process: {reason}") from error
    return ImageError(ErrorCode.INFERENCE_FAILED, f"the model failed on this image: {type(error).__name__}: {reason}")


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _checked_digest(infer: Infer, path: Path | None, digest: str | None) -> str:
    model = infer.model
    if path is None:
        named = json.dumps({"architecture": model.architecture, "arguments": model.arguments}, sort_keys=True)
        return hashlib.sha256(named.encode()).hexdigest()
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"model: {path} cannot be read: {error}") from error
    for expected in (model.sha256, digest):
        if expected is not None and found != expected:
            raise ModelError(
                f"model.sha256: {path.name} has the digest {found}, not {expected}; it is another file than the pipeline means"
            )
    return found

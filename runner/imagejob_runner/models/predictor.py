"""What an infer step calls: a model that is loaded, checked and ready for batches."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch

from imagejob_api.pipeline import Decode, Infer
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import DeviceError, ImageError, ModelError, RunnerError
from imagejob_runner.fetch import sha256_of
from imagejob_runner.images.recipe import fingerprint
from imagejob_runner.models.compiling import Compilation
from imagejob_runner.models.device import first_line, is_device_error, is_memory_error
from imagejob_runner.models.forward import Answer, Forward, Pass
from imagejob_runner.models.inputs import inputs_of
from imagejob_runner.models.labels import load_labels
from imagejob_runner.models.lanes import Batch, lane_of
from imagejob_runner.models.network import Network
from imagejob_runner.planning.models import PlannedModel, unnamed_digest

_NO_ROOM: Final = "the model does not fit into the memory that is free; give the pods more, or let fewer share the device"
_NO_DEVICE: Final = "the GPU cannot be used by this process"
_OTHER_FILE: Final = "rows of both would stand side by side: put the planned file back, or use another output.url"


class Predictor:
    """A model that is loaded, checked and ready.

    Loading blocks for seconds; batches may be launched from several threads at once.

    Args:
        infer: The step's settings.
        weights: Local file of `infer.model.weights` or `infer.model.program`; None for an architecture that needs none.
        planned: What the output was planned with: digests are computed and compared before anything is loaded. None where there is no plan.
        labels: Local file of `infer.labels`, if that is a URL.
        decode: How files become pixels, if batches may hold some; see `decodes`.

    Raises:
        ModelError: A digest differs, or the model or its labels cannot be loaded, must not be, or do not fit each other.
        DeviceError: The device is not there, fails, or has no memory left for the model; on a shared GPU another attempt may find some.
    """

    def __init__(
        self,
        infer: Infer,
        weights: Path | None,
        planned: PlannedModel | None,
        labels: Path | None = None,
        decode: Decode | None = None,
    ) -> None:
        version = _version(weights)
        self.model_digest = _checked_digest(infer, weights, planned)
        """SHA-256 of the weights or the program; of the architecture's name and arguments where there is no file."""
        self.preprocess_fingerprint = fingerprint(infer.preprocess)
        """See `images.preprocess.fingerprint`."""
        _check_labels(labels, planned)
        names = load_labels(infer.labels, labels)
        try:
            self._network = Network(infer, weights)
        except Exception as error:
            if isinstance(error, RunnerError) or not is_device_error(error):
                raise
            raise DeviceError(f"{_NO_ROOM if is_memory_error(error) else _NO_DEVICE}: {first_line(error)}") from error
        if _version(weights) != version:
            raise ModelError(f"model: {weights} was changed while it was being loaded; run again when it is left alone")
        self.device = str(self._network.device)
        """Where the model runs: ``cpu`` or ``cuda:0``."""
        inputs = inputs_of(self._network.device, decode, infer.preprocess) if decode is not None else None
        self.decodes = inputs is not None
        """Whether batches may hold files (`models.inputs.Undecoded`)."""
        self._forward = Forward(
            self._network,
            lane_of(self._network.device, inputs),
            least=self._network.smallest,
            most=self._network.best_batch,
            outputs=infer.outputs,
            labels=names,
        )
        self._try_out(infer.preprocess.size)
        self._compilation = _compilation_of(self._network, self._forward, infer)

    def launch(self, batch: Batch) -> Pass:
        """Starts a forward pass over any number of images; see `Forward.launch`."""
        return self._forward.launch(batch)

    def predict(self, batch: Batch) -> list[Answer]:
        """Runs the model over any number of images, and waits for the answers; see `Pass.answers`."""
        return self.launch(batch).answers()

    def close(self) -> None:
        """Ends what goes on beside passes; may take seconds."""
        if self._compilation is not None:
            self._compilation.close()

    def consider_compiling(self, settled: Pass, left: int | None) -> None:
        """Begins to compile the model beside its work, once at most, when that pays.

        Args:
            settled: A pass that is settled.
            left: Images of this process that are still to come; None if nobody knows.
        """
        if self._compilation is not None:
            self._compilation.consider(settled.images, settled.seconds, left)

    def _try_out(self, size: int) -> None:
        """One grey image shows a wrong output or label count before any work is done."""
        (answer,) = self.predict([np.full((size, size, 3), 128, np.uint8)])
        if isinstance(answer, ImageError) and answer.code == ErrorCode.OUT_OF_MEMORY:
            raise DeviceError(f"{_NO_ROOM}: {answer.message}")
        if isinstance(answer, ImageError) and answer.code != ErrorCode.INVALID_OUTPUT:
            raise ModelError(f"the model fails on a plain grey image: {answer.message}")


def _compilation_of(network: Network, forward: Forward, infer: Infer) -> Compilation | None:
    """What may compile a network; None where it is to stay as it is."""
    if infer.compile == "off" or network.device.type == "cpu":
        return None

    def put_in(compiled: Callable[[torch.Tensor], object]) -> None:
        forward.network = compiled

    return Compilation(network, network.compiled, network.example(), infer.precision, put_in)


def _checked_digest(infer: Infer, path: Path | None, planned: PlannedModel | None) -> str:
    model = infer.model
    if path is None:
        found = unnamed_digest(model.architecture, model.arguments)
        _compare(planned, found, f"the architecture {model.architecture}")
        return found
    found = _digest_of(path, "model")
    if model.sha256 not in (None, found):
        raise ModelError(
            f"model.sha256: {path.name} has the digest {found}, not {model.sha256}; it is another file than the pipeline means"
        )
    _compare(planned, found, f"the model {path.name}")
    return found


def _compare(planned: PlannedModel | None, found: str, what: str) -> None:
    if planned is not None and found != planned.sha256:
        raise ModelError(f"{what} has the digest {found}, but the output was planned with {planned.sha256}; {_OTHER_FILE}")


def _check_labels(labels: Path | None, planned: PlannedModel | None) -> None:
    if labels is None or planned is None or planned.labels is None:
        return
    if (found := _digest_of(labels, "infer.labels")) != planned.labels:
        raise ModelError(
            f"the labels {labels.name} have the digest {found}, but the output was planned with {planned.labels}; {_OTHER_FILE}"
        )


def _digest_of(path: Path, what: str) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise ModelError(f"{what}: {path} cannot be read: {error}") from error


def _version(path: Path | None) -> tuple[int, ...]:
    """Tells a file from one that was put in its place, or written over."""
    if path is None:
        return ()
    try:
        found = path.stat()
    except OSError as error:
        raise ModelError(f"model: {path} cannot be read: {error}") from error
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

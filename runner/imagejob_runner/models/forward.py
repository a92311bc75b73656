"""Forward passes that are under way: begun at once, waited for when their answers are needed, and begun again in halves where they fail.

One image must never take its neighbours down: a failing batch is halved until the culprit is alone, and running out of memory makes
batches smaller for good.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch

from imagejob_api.pipeline import Outputs
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import DeviceError, ImageError, RunnerError
from imagejob_runner.models.device import first_line, is_device_error, is_memory_error
from imagejob_runner.models.inputs import Made
from imagejob_runner.models.lanes import Batch, Lane, Pending, Results
from imagejob_runner.models.outputs import Form, JsonValue, check_output, describe, form_of, reduce

logger = logging.getLogger(__name__)

Answer = JsonValue | ImageError
"""What is said about one image."""


class Forward:
    """Begins passes of a network on a device, from any number of threads.

    Args:
        network: From images on the device, type uint8, shape (images, size, size, 3), to one output for each.
        lane: The device's.
        least: Fewest images that the network takes.
        most: Most images to give it at once.
        outputs: What is written of its answers.
        labels: Class names, or None.
    """

    def __init__(
        self,
        network: Callable[[torch.Tensor], object],
        lane: Lane,
        *,
        least: int,
        most: int,
        outputs: Outputs,
        labels: Sequence[str] | None,
    ) -> None:
        self.network = network
        """What the next passes are made with."""
        self._lane, self._least, self._most = lane, least, most
        self._outputs, self._labels = outputs, labels

    def launch(self, batch: Batch) -> "Pass":
        """Begins to run the network over any number of images. On a GPU it returns before they are through, on CPUs when they are.

        Args:
            batch: Arrays of type uint8 and shape (size, size, 3), as made by `images.preprocess.to_array`, or one array of shape (images,
                size, size, 3), which a CPU takes without copying. Nobody may write to them before the pass is settled.

        Raises:
            ModelError: The network's output has a shape that makes no sense; no image can be right.
            DeviceError: The GPU has failed and the process has to be replaced.
        """
        parts: list[_Part] = []
        begun = 0
        while begun < len(batch):
            images = batch[begun : begun + self._most]
            parts.append(self._begin(images))
            begun += len(images)
        return Pass(self, parts)

    def _begin(self, images: Batch) -> "_Part":
        work = _Work(self.network, len(images), self._outputs, self._labels)
        try:
            with torch.inference_mode():
                return _Part(images, work, self._lane.submit(images, self._least, work))
        except RunnerError:
            raise
        except Exception as error:  # noqa: BLE001  a network may raise anything
            failure = _failure(error)
        self._make_room(failure, len(images))
        return _Part(images, work, failure)

    def _settle(self, part: "_Part") -> "list[_Settled]":
        if not isinstance(part.pending, ImageError):
            try:
                return [_Settled(part.pending.results(), part.work, part.pending.seconds, part.pending.made)]
            except RunnerError:
                raise
            except Exception as error:  # noqa: BLE001  a network may raise anything
                failure = _failure(error)
            # Outside of the handler, which would keep the tensors of the failed pass alive through the next one.
            part.pending = failure
            self._make_room(failure, len(part.images))
        if len(part.images) == 1:
            return [_Settled(part.pending, part.work, 0.0, Made())]
        half = len(part.images) // 2
        return self._settle(self._begin(part.images[:half])) + self._settle(self._begin(part.images[half:]))

    def _make_room(self, failure: ImageError, images: int) -> None:
        if failure.code != ErrorCode.OUT_OF_MEMORY:
            return
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        smaller = max(1, images // 2)
        if smaller < self._most:
            logger.warning("out of memory with %d images at once: going on with batches of %d", images, smaller)
            self._most = smaller

    def _describe(self, settled: "_Settled") -> list[Answer]:
        if isinstance(settled.results, ImageError):
            return [settled.results]
        answers = describe(settled.results, settled.work.form, self._outputs, self._labels)
        for place, error in settled.made.errors.items():
            answers[place] = error
        return answers


class Pass:
    """A forward pass that has begun. Made by `Forward.launch`.

    Args:
        forward: What began it.
        parts: What was given to the device.
    """

    def __init__(self, forward: Forward, parts: "list[_Part]") -> None:
        self._forward, self._parts = forward, parts
        self._settled: list[_Settled] = []
        self.images: Final = sum(len(part.images) for part in parts)
        """How many it is of."""

    def settle(self) -> None:
        """Waits for the device, and does again in halves what failed: only while the device may be used. A second call does nothing.

        Raises:
            ModelError: The network's output has a shape that makes no sense; no image can be right.
            DeviceError: The GPU has failed and the process has to be replaced.
        """
        while self._parts:
            self._settled += self._forward._settle(self._parts[0])  # noqa: SLF001  made together
            del self._parts[0]

    def answers(self) -> list[Answer]:
        """What is written about each image; settles the pass first if that was not done.

        Returns:
            One entry for each image, in order: its output as described in `models.outputs.describe`, or an ImageError with the code
            InvalidOutput, InferenceFailed or OutOfMemory.

        Raises:
            ModelError: As of `settle`.
            DeviceError: As of `settle`.
        """
        self.settle()
        return [answer for settled in self._settled for answer in self._forward._describe(settled)]  # noqa: SLF001  made together

    @property
    def decoded(self) -> list[bool]:
        """Of each image of a pass that is settled, whether the device has decoded it."""
        return [place in settled.made.decoded for settled in self._settled for place in range(settled.work.images)]

    @property
    def seconds(self) -> float:
        """Seconds that the device computed, of a pass that is settled."""
        return sum(settled.seconds for settled in self._settled)


class _Work:
    """What a device does with a batch: the network, and what of its output is brought back."""

    def __init__(self, network: Callable[[torch.Tensor], object], images: int, outputs: Outputs, labels: Sequence[str] | None) -> None:
        self._network, self.images, self._outputs, self._labels = network, images, outputs, labels
        self.form: Form

    def __call__(self, batch: torch.Tensor) -> Results:
        output = self._network(batch)
        if isinstance(output, torch.Tensor) and output.dim() and len(output) == len(batch):
            output = output[: self.images]
        checked = check_output(output, self.images, self._outputs, self._labels)
        self.form = form_of(checked)
        return reduce(checked, self._outputs)


@dataclass(slots=True)
class _Part:
    images: Batch
    work: _Work
    pending: Pending | ImageError


@dataclass(frozen=True, slots=True)
class _Settled:
    results: Results | ImageError
    work: _Work
    seconds: float
    made: Made


def _failure(error: Exception) -> ImageError:
    reason = first_line(error)
    if is_memory_error(error):
        return ImageError(ErrorCode.OUT_OF_MEMORY, f"not enough memory for a single image: {reason}", retryable=True)
    if is_device_error(error):
        raise DeviceError(f"the GPU cannot be used any more by this process: {reason}") from error
    return ImageError(ErrorCode.INFERENCE_FAILED, f"the model failed on this image: {type(error).__name__}: {reason}")

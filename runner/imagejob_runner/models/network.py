"""A loaded model behind one call: images in, output tensor out, whatever it was loaded from and wherever it runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

from imagejob_api.pipeline import Infer, Precision, Preprocess
from imagejob_api.redaction import shown_url
from imagejob_runner.exceptions import ModelError
from imagejob_runner.models.architecture import build
from imagejob_runner.models.batching import cpu_pass, default_batch
from imagejob_runner.models.device import find_device, is_device_error
from imagejob_runner.models.prepare import prepare
from imagejob_runner.models.program import load_program
from imagejob_runner.models.threads import use_threads
from imagejob_runner.models.weights import load_into, read_weights
from imagejob_runner.process import cpu_count

_DTYPES: Final = {Precision.FP32: torch.float32, Precision.FP16: torch.float16, Precision.BF16: torch.bfloat16}
_EXAMPLES: Final = 2


class Network:
    """A model that is ready to run.

    fp16 and bf16 convert the weights of an architecture, after batch normalisation was folded in float32; a program keeps its own types
    and runs under autocast. Outputs are of whatever type the model gives.

    Args:
        infer: The step's settings.
        path: Local file of the weights or the program; None for an architecture that needs none.

    Raises:
        ModelError: It cannot be loaded, must not be, or fails on an example image.
        DeviceError: The device is not there.
        Exception: What `is_device_error` tells apart.
    """

    def __init__(self, infer: Infer, path: Path | None) -> None:
        self.device = find_device(infer.device)
        self._threads = infer.threads or cpu_count()
        use_threads(self._threads)
        self._dtype, self._size = _DTYPES[infer.precision], infer.preprocess.size
        self._scale, self._shift = _affine(infer.preprocess, self.device)
        self._autocast = False
        smallest, largest = 1, None
        if infer.model.program is None:
            self._module, self._layout = self._built(infer, path)
        else:
            self._autocast = self._dtype is not torch.float32
            self._module, self._layout, (smallest, largest) = self._exported(infer, path)
        gpu = self.device.type != "cpu"
        wanted = infer.batch_size or default_batch(infer.preprocess.size, threads=self._threads, gpu=gpu)
        best = wanted if gpu else cpu_pass(infer.preprocess.size, self._threads)
        self.smallest = smallest
        """Fewest images that the model takes at once."""
        self.best_batch = max(smallest, min(wanted, best, largest or wanted))
        """Most images to give it at once: what the model, the settings and the device's caches allow."""

    def __call__(self, batch: torch.Tensor) -> object:
        """Normalises a batch and runs the model, on the stream that is the calling thread's.

        Args:
            batch: At least `smallest` and at most `best_batch` images of type uint8, shape (images, size, size, 3), on the device.

        Returns:
            What the model returns; for a tensor, one entry for each image.

        Raises:
            Exception: Whatever the model raises.
        """
        return self._run(self._module, batch)

    def compiled(self) -> Callable[[torch.Tensor], object]:
        """The same, compiled by torch for the size of the first batch that it is called with; that call takes long."""
        module = torch.compile(self._module, dynamic=False)
        return lambda batch: self._run(module, batch)

    def example(self) -> torch.Tensor:
        """A batch of noise, of `best_batch` images."""
        generator, size = torch.Generator().manual_seed(0), self._size
        return torch.randint(0, 256, (self.best_batch, size, size, 3), dtype=torch.uint8, generator=generator).to(self.device)

    @torch.inference_mode()
    def _run(self, module: Callable[[torch.Tensor], object], batch: torch.Tensor) -> object:
        use_threads(self._threads)
        # Rows of pixels are channels-last memory already, so the permutation moves nothing.
        given = _normalised(batch, self._scale, self._shift).permute(0, 3, 1, 2)
        if self._layout is torch.contiguous_format:
            given = given.contiguous()
        if self._autocast:
            with torch.autocast(self.device.type, dtype=self._dtype):
                return module(given)
        return module(given.to(self._dtype))

    def _built(self, infer: Infer, path: Path | None) -> tuple[torch.nn.Module, torch.memory_format]:
        model = infer.model
        network = build(model.architecture or "", model.arguments)
        if path is not None:
            load_into(network, read_weights(path), path.name)
        elif model.weights is not None:
            raise ModelError(f"model.weights: {shown_url(model.weights)} was not fetched")
        network = network.float().eval().requires_grad_(requires_grad=False)
        network, layout = _prepared(network, infer, _EXAMPLES, torch.device("cpu"))
        return network.to(device=self.device, dtype=self._dtype), layout

    def _exported(self, infer: Infer, path: Path | None) -> tuple[torch.nn.Module, torch.memory_format, tuple[int, int | None]]:
        if path is None:
            raise ModelError(f"model.program: {shown_url(infer.model.program or '')} was not fetched")
        program = load_program(path, self.device, infer.preprocess.size)
        smallest, largest = program.batch_range
        network, layout = _prepared(program.network, infer, max(smallest, min(_EXAMPLES, largest or _EXAMPLES)), self.device)
        return network, layout, program.batch_range


def _prepared(network: torch.nn.Module, infer: Infer, images: int, device: torch.device) -> tuple[torch.nn.Module, torch.memory_format]:
    size = infer.preprocess.size
    noise = torch.randint(0, 256, (images, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).to(device)
    example = _normalised(noise, *_affine(infer.preprocess, device)).permute(0, 3, 1, 2).contiguous()
    try:
        return prepare(network, example)
    except Exception as error:
        if is_device_error(error):
            raise
        raise ModelError(f"the model fails on an example batch of shape {tuple(example.shape)}: {error}") from error


def _affine(preprocess: Preprocess, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Factor and summand for each value of a row of pixels, computed in float64, that do what `normalize` says."""
    normalize = preprocess.normalize
    mean, std = (torch.tensor(values, dtype=torch.float64).repeat(preprocess.size) for values in (normalize.mean, normalize.std))
    return (normalize.scale / std).float().to(device), (-mean / std).float().to(device)


def _normalised(batch: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """``(value * scale - mean) / std`` as one product and one sum, in float32, of shape (images, size, size, 3).

    A row of pixels at a time: torch takes four times as long if it has to begin anew with each pixel's three channels.
    """
    return batch.flatten(2).to(torch.float32).mul_(scale).add_(shift).view(batch.shape)

"""How a device is given work: a CPU does it at once; a GPU takes it, and nobody waits for it before results are needed."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch

from imagejob_runner.models.inputs import Inputs, Made, Undecoded
from imagejob_runner.models.staging import Images, Staging, Wait, gather

Batch = Images | Sequence[np.ndarray | Undecoded]
"""What a device is given: images as of `Images`, and among them files that it decodes."""

Results = tuple[torch.Tensor, ...]
Compute = Callable[[torch.Tensor], Results]
"""From a batch on the device, type uint8, shape (images, size, size, 3), to what is wanted of it, on the device."""


class Pending(Protocol):
    """Work that a device has been given."""

    def results(self) -> Results:
        """Waits for what `Compute` has returned, in the host's memory.

        Raises:
            Exception: Whatever the work raised that did not show when it was given.
        """

    @property
    def seconds(self) -> float:
        """Seconds that the device computed, known when `results` has returned."""

    @property
    def made(self) -> Made:
        """How the batch came about."""


class Lane(Protocol):
    """One device's way of being given work, in order."""

    def submit(self, batch: Batch, least: int, compute: Compute) -> Pending:
        """Gives work to the device.

        Args:
            batch: One image or more. Their memory may be read until `results` has returned.
            least: Fewest that the model takes; the last one is repeated up to it.
            compute: What to do with them; called on the calling thread, though what it starts may run later.

        Raises:
            Exception: Whatever shows at once, running out of memory among it.
        """


def lane_of(device: torch.device, inputs: Inputs | None = None) -> Lane:
    """The lane of a device.

    Args:
        device: Any.
        inputs: What decodes on it; None if nothing does, and no batch holds a file.
    """
    return HostLane(inputs) if device.type == "cpu" else CudaLane(device, inputs)


class HostLane:
    """Works on CPUs, at once.

    Args:
        inputs: As of `lane_of`.
    """

    def __init__(self, inputs: Inputs | None = None) -> None:
        self._inputs = inputs

    def submit(self, batch: Batch, least: int, compute: Compute) -> Pending:
        """See `Lane.submit`; returns when the work is done."""
        begun = time.perf_counter()
        arrays, files = parted(batch)
        if files:
            given, made = mixed(self._inputs, arrays, files, least, gather, torch.device("cpu"))
        else:
            given, made = gather(_plain(batch), least), Made()
        results = compute(given)
        return _Done(results, time.perf_counter() - begun, made)


class _Done:
    def __init__(self, results: Results, seconds: float, made: Made) -> None:
        self._results, self.seconds, self.made = results, seconds, made

    def results(self) -> Results:
        return self._results


class CudaLane:
    """Makes batches on one stream and computes on another, so that the next batch comes in while one is computed.

    Args:
        device: A GPU. What was begun on it before, as loading a model, is waited for.
        inputs: As of `lane_of`.
    """

    def __init__(self, device: torch.device, inputs: Inputs | None) -> None:
        torch.cuda.synchronize(device)
        self._device, self._inputs = device, inputs
        self._making, self._computing = _stream(device), _stream(device)
        self._staging = Staging(lambda shape: torch.empty(*shape, dtype=torch.uint8, pin_memory=True))
        self._lock = threading.Lock()

    def submit(self, batch: Batch, least: int, compute: Compute) -> Pending:
        """See `Lane.submit`; returns when the work is in the GPU's queue."""
        with self._lock:
            given, made = self._made(batch, least)
            begun, ended, there = _event(timed=True), _event(timed=True), _event()
            with torch.cuda.stream(self._computing):
                begun.record()
                results = compute(given)
                ended.record()
                brought = tuple(_pinned(result) for result in results)
                there.record()
        return _UnderWay(brought, begun, ended, there, made)

    def _made(self, batch: Batch, least: int) -> tuple[torch.Tensor, Made]:
        with torch.cuda.stream(self._making):
            arrays, files = parted(batch)
            if files:
                given, made = mixed(self._inputs, arrays, files, least, self._sent, self._device)
            else:
                given, made = self._sent(_plain(batch), least), Made()
            ready = _event()
            ready.record()
        self._computing.wait_event(ready)
        # It was allocated for one stream and is used on another: not to be given to somebody else before that is through with it.
        given.record_stream(self._computing)
        return given, made

    def _sent(self, images: Images, least: int) -> torch.Tensor:
        return self._staging.send(images, least, self._copy)

    def _copy(self, block: torch.Tensor) -> tuple[torch.Tensor, Wait]:
        there = block.to(self._device, non_blocking=True)
        taken = _event()
        taken.record()
        return there, taken.synchronize


def parted(batch: Batch) -> tuple[dict[int, np.ndarray], dict[int, Undecoded]]:
    """The arrays and the files of a batch by their places; no arrays where there are no files, as then nothing need be put together."""
    if isinstance(batch, np.ndarray):
        return {}, {}
    files = {place: each for place, each in enumerate(batch) if isinstance(each, Undecoded)}
    return {place: each for place, each in enumerate(batch) if isinstance(each, np.ndarray)} if files else {}, files


def mixed(
    inputs: Inputs | None,
    arrays: dict[int, np.ndarray],
    files: dict[int, Undecoded],
    least: int,
    send: Callable[[Images, int], torch.Tensor],
    device: torch.device,
) -> tuple[torch.Tensor, Made]:
    """A batch on the device, of arrays and of files that it decodes; shape (images, size, size, 3), type uint8.

    Args:
        inputs: What decodes.
        arrays: By their places.
        files: By theirs; at least one.
        least: Fewest images; what is added is black.
        send: Brings arrays to the device.
        device: Where that is.
    """
    if inputs is None:
        raise ValueError("files were given to a device that decodes none")
    side = inputs.size
    batch = torch.zeros(max(len(arrays) + len(files), least), side, side, 3, dtype=torch.uint8, device=device)
    made = inputs.fill([*files.values()], [*files], batch)
    if arrays:
        places = torch.tensor([*arrays])
        batch[places if device.type == "cpu" else places.pin_memory().to(device, non_blocking=True)] = send([*arrays.values()], 1)
    return batch, made


def _plain(batch: Batch) -> Images:
    return batch  # type: ignore[return-value]  # `parted` found no file


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch says no types here


def _event(*, timed: bool = False) -> torch.cuda.Event:
    """Whoever waits for it sleeps, so that decoding has the CPU."""
    return torch.cuda.Event(enable_timing=timed, blocking=True)  # type: ignore[no-untyped-call]  # torch says no types here


def _pinned(result: torch.Tensor) -> torch.Tensor:
    return torch.empty(result.shape, dtype=result.dtype, pin_memory=True).copy_(result, non_blocking=True)


class _UnderWay:
    def __init__(self, brought: Results, begun: torch.cuda.Event, ended: torch.cuda.Event, there: torch.cuda.Event, made: Made) -> None:
        self._brought, self._begun, self._ended, self._there, self.made = brought, begun, ended, there, made

    def results(self) -> Results:
        self._there.synchronize()
        return self._brought

    @property
    def seconds(self) -> float:
        return float(self._begun.elapsed_time(self._ended)) / 1000

"""How a device is given work: a CPU does it at once; a GPU takes it, and nobody waits for it before results are needed."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

import torch

from imagejob_runner.models.staging import Images, Staging, Wait, gather

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


class Lane(Protocol):
    """One device's way of being given work, in order."""

    def submit(self, images: Images, least: int, compute: Compute) -> Pending:
        """Gives work to the device.

        Args:
            images: Their memory may be read until `results` has returned.
            least: Fewest that the model takes; the last one is repeated up to it.
            compute: What to do with them; called on the calling thread, though what it starts may run later.

        Raises:
            Exception: Whatever shows at once, running out of memory among it.
        """


def lane_of(device: torch.device) -> Lane:
    """The lane of a device."""
    return HostLane() if device.type == "cpu" else CudaLane(device)


class HostLane:
    """Works on CPUs, at once."""

    def submit(self, images: Images, least: int, compute: Compute) -> Pending:
        """See `Lane.submit`; returns when the work is done."""
        begun = time.perf_counter()
        results = compute(gather(images, least))
        return _Done(results, time.perf_counter() - begun)


class _Done:
    def __init__(self, results: Results, seconds: float) -> None:
        self._results, self.seconds = results, seconds

    def results(self) -> Results:
        return self._results


class CudaLane:
    """Copies from pinned memory on one stream and computes on another, so that the next batch comes in while one is computed.

    Args:
        device: A GPU. What was begun on it before, as loading a model, is waited for.
    """

    def __init__(self, device: torch.device) -> None:
        torch.cuda.synchronize(device)
        self._device = device
        self._copying, self._computing = _stream(device), _stream(device)
        self._staging = Staging(lambda shape: torch.empty(*shape, dtype=torch.uint8, pin_memory=True))
        self._lock = threading.Lock()

    def submit(self, images: Images, least: int, compute: Compute) -> Pending:
        """See `Lane.submit`; returns when the work is in the GPU's queue."""
        with self._lock:
            batch = self._staging.send(images, least, self._copy)
            begun, ended, there = _event(timed=True), _event(timed=True), _event()
            with torch.cuda.stream(self._computing):
                begun.record()
                results = compute(batch)
                ended.record()
                brought = tuple(_pinned(result) for result in results)
                there.record()
        return _UnderWay(brought, begun, ended, there)

    def _copy(self, block: torch.Tensor) -> tuple[torch.Tensor, Wait]:
        with torch.cuda.stream(self._copying):
            batch = block.to(self._device, non_blocking=True)
            taken = _event()
            taken.record()
        self._computing.wait_event(taken)
        # The block was allocated for one stream and is used on another: not to be given to somebody else before that is through with it.
        batch.record_stream(self._computing)
        return batch, taken.synchronize


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch says no types here


def _event(*, timed: bool = False) -> torch.cuda.Event:
    """Whoever waits for it sleeps, so that decoding has the CPU."""
    return torch.cuda.Event(enable_timing=timed, blocking=True)  # type: ignore[no-untyped-call]  # torch says no types here


def _pinned(result: torch.Tensor) -> torch.Tensor:
    return torch.empty(result.shape, dtype=result.dtype, pin_memory=True).copy_(result, non_blocking=True)


class _UnderWay:
    def __init__(self, brought: Results, begun: torch.cuda.Event, ended: torch.cuda.Event, there: torch.cuda.Event) -> None:
        self._brought, self._begun, self._ended, self._there = brought, begun, ended, there

    def results(self) -> Results:
        self._there.synchronize()
        return self._brought

    @property
    def seconds(self) -> float:
        return float(self._begun.elapsed_time(self._ended)) / 1000

"""Compiling a network beside its work, where what is left of the job pays that back. Never a reason to fail, and never another answer.

A compiler's time is spent on a thread of its own; passes go on with the network as it is until the compiled one has shown, on an example,
that it answers the same within `tolerance`. It is for one size of batch: smaller ones, as the last, keep the network that takes any.
"""

import ctypes
import importlib.util
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from typing import Final

import torch

from imagejob_api.pipeline import Precision
from imagejob_runner.models.device import first_line

logger = logging.getLogger(__name__)

Run = Callable[[torch.Tensor], object]
"""A network: from images of type uint8, shape (images, size, size, 3), to one output for each."""

_SECONDS: Final = 27.0
"""What compiling was seen to take at worst, on a machine with an H200: 14 to 27 s."""
_WORTH: Final = 2
"""How many times what it takes it has to save."""
_SAVED: Final = {True: 0.38, False: 0.15}
"""Part of a pass that it saves on a GPU, by whether that is in half precision. Measured on an H200: ResNet-50 in bf16, 15,515 to 25,117
images a second; in fp32 it is a guess on the safe side. On CPUs nothing is compiled: it would take minutes of what passes run on."""
_BUSY: Final = 0.7
"""Part of the time for which the device computes, below which quicker passes would only wait longer."""
_GIVE_UP_SECONDS: Final = 5.0
_LEAST_PASSES: Final = 20
"""Before anything is concluded from them."""
_TOLERANCES: Final = {Precision.FP32: 1e-3, Precision.FP16: 1e-2, Precision.BF16: 3e-2}


class _GivenUp(BaseException):
    """Raised in the thread that compiles."""


def pays(left: int, seconds: float, busy: float, device: str, precision: Precision) -> bool:
    """Whether compiling saves more than it takes.

    Args:
        left: Images that are still to come.
        seconds: Of the device, for each.
        busy: Part of the time for which the device computes.
        device: ``cpu`` or ``cuda``.
        precision: Of the passes.
    """
    saved = _SAVED[precision is not Precision.FP32]
    return device != "cpu" and busy >= _BUSY and (left * seconds - _SECONDS) * saved >= _WORTH * _SECONDS


def tolerance(precision: Precision) -> float:
    """By how much answers may differ, of the largest value of an output, which counts as 1 at least."""
    return _TOLERANCES[precision]


def can_compile() -> bool:
    """Whether there is what torch compiles with for a GPU: Triton and a C compiler."""
    return importlib.util.find_spec("triton") is not None and ("CC" in os.environ or any(map(shutil.which, ("gcc", "clang"))))


class Compilation:
    """Decides when a network is compiled, compiles it once at most, and puts it in.

    Args:
        network: As it is.
        compile: Makes another one of it that does the same; what it returns may take its time when it is first called.
        example: A batch of the size that it is compiled for, type uint8, on the network's device.
        precision: Of the passes.
        put_in: Takes the network for the passes from now on.
    """

    def __init__(
        self,
        network: Run,
        compile: Callable[[], Run],  # noqa: A002  what it does
        example: torch.Tensor,
        precision: Precision,
        put_in: Callable[[Run], None],
    ) -> None:
        self._network, self._compile, self._example, self._precision, self._put_in = network, compile, example, precision, put_in
        self._passes = self._images = 0
        self._seconds, self._since = 0.0, time.monotonic()
        self._decided = not can_compile()
        self.thread: threading.Thread | None = None
        """Where it is compiled, once that has begun."""

    def consider(self, images: int, seconds: float, left: int | None) -> None:
        """Notes a pass, and begins to compile if that pays. Not to be called by two threads at once.

        Args:
            images: In the pass.
            seconds: Of the device.
            left: Images that are still to come; if nobody knows, as many are expected as there were.
        """
        if self._decided:
            return
        if not self._passes:
            self._since = time.monotonic() - seconds
        self._passes, self._images, self._seconds = self._passes + 1, self._images + images, self._seconds + seconds
        if self._passes < _LEAST_PASSES:
            return
        busy = self._seconds / max(time.monotonic() - self._since, 1e-9)
        if left is None:
            left = self._images
        if pays(left, self._seconds / self._images, busy, self._example.device.type, self._precision):
            self._decided = True
            self.thread = threading.Thread(target=self._work, name="compile", daemon=True)
            self.thread.start()

    def close(self) -> None:
        """Gives up compiling, if that is under way; returns when it has, or after a few seconds.

        A process that ends in the middle of it would be aborted.
        """
        thread = self.thread
        if thread is not None and thread.is_alive():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(_GivenUp))
            thread.join(_GIVE_UP_SECONDS)

    def _work(self) -> None:
        begun = time.monotonic()
        try:
            compiled = self._compile()
            difference = self._difference(compiled)
        except _GivenUp:
            return
        except Exception as error:  # noqa: BLE001  a compiler may fail in any way; the network then runs as it is
            logger.warning("the model is not compiled: %s: %s", type(error).__name__, first_line(error))
            return
        if not difference <= tolerance(self._precision):  # also when it is not a number
            logger.warning("the model is not compiled: its answers would differ by %.2g", difference)
            return
        logger.info("the model was compiled in %.0f s; its answers differ by %.2g at most", time.monotonic() - begun, difference)
        self._put_in(_Compiled(compiled, self._network, len(self._example)))

    @torch.inference_mode()
    def _difference(self, compiled: Run) -> float:
        """The largest one, of the largest value of what is expected."""
        expected, found = self._network(self._example), compiled(self._example)
        if not isinstance(expected, torch.Tensor) or not isinstance(found, torch.Tensor) or found.shape != expected.shape:
            raise TypeError("it returns something else")
        difference = (found.double() - expected.double()).abs().max().item()
        return float(difference / max(1.0, expected.double().abs().max().item()))


class _Compiled:
    """A compiled network for batches of its size, and the one as it was for all others, and for all if it ever fails."""

    def __init__(self, compiled: Run, plain: Run, images: int) -> None:
        self._compiled: Run | None = compiled
        self._plain, self._images = plain, images

    def __call__(self, batch: torch.Tensor) -> object:
        if self._compiled is None or len(batch) != self._images:
            return self._plain(batch)
        try:
            return self._compiled(batch)
        except Exception as error:  # noqa: BLE001  it may be the batch's fault: then the network says so itself
            logger.warning("the model goes on as it was before it was compiled: %s: %s", type(error).__name__, first_line(error))
            self._compiled = None
        return self._plain(batch)

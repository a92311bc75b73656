"""Where a model runs, and which of its errors are the device's: another process, or a later attempt, may not meet them."""

from typing import Final

import torch

from imagejob_runner.exceptions import DeviceError


def find_device(name: str) -> torch.device:
    """The device that `infer.device` names.

    Raises:
        DeviceError: It is not there, which may be otherwise on another node.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    device = torch.device(name)
    if device.type != "cuda":
        return device
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise DeviceError(f"infer.device: {name} was asked for and torch sees no GPU here; write auto or cpu, or ask for a GPU in spec.gpu")
    if (device.index or 0) >= count:
        raise DeviceError(f"infer.device: {name} was asked for and torch sees {count} GPUs here, counted from 0; name one of them, or auto")
    return device


_BROKEN: Final = ("CUDA error", "CUDA Runtime failure", "device-side assert")
"""How torch and nvImageCodec say that the GPU cannot be used any more."""


def is_memory_error(error: BaseException) -> bool:
    """Whether there was not enough memory, of the GPU or of the machine."""
    text = str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in text or "not enough memory" in text


def is_device_error(error: BaseException) -> bool:
    """Whether an error tells of the device and not of the model. torch has no type of its own for the GPU's errors, only their text."""
    text = str(error)
    return is_memory_error(error) or any(phrase in text for phrase in _BROKEN)


def first_line(error: BaseException) -> str:
    """The first line of what an error says; torch adds pages of advice."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__

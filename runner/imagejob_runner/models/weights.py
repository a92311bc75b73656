"""Reading weights without running anything that they may carry."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from imagejob_runner.exceptions import ModelError
from imagejob_runner.models.device import is_memory_error

_WRAPPER: Final = "state_dict"
_PARALLEL: Final = "module."
_HEADER_LENGTH: Final = 8


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a safetensors file or a file of `torch.save`, told by its content.

    A checkpoint's ``{"state_dict": …}`` is unwrapped and the ``module.`` prefix of DataParallel taken off.

    Raises:
        ModelError: The file cannot be read, carries code, or is no state dict.
        Exception: There is not enough memory for it.
    """
    try:
        loaded = load_file(path) if _is_safetensors(path) else _load_pickle(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"model.weights: {path.name} cannot be read: {error}") from error
    return _state_dict(loaded, path.name)


def load_into(module: torch.nn.Module, weights: Mapping[str, torch.Tensor], name: str) -> None:
    """Copies `weights` into `module`, every key exactly once.

    Raises:
        ModelError: Keys are missing or unexpected, or shapes differ.
    """
    try:
        keys = module.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ModelError(f"model.weights: {name} does not fit the architecture: {error}") from error
    problems = [
        f"{len(names)} {kind} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"  # noqa: PLR2004  enough to recognise the cause
        for kind, names in (("missing", keys.missing_keys), ("unexpected", keys.unexpected_keys))
        if names
    ]
    if problems:
        raise ModelError(f"model.weights: {name} does not fit the architecture: keys {' and '.join(problems)}; check model.arguments")


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(_HEADER_LENGTH + 1)
    header = int.from_bytes(start[:_HEADER_LENGTH], "little")
    return start[_HEADER_LENGTH:] == b"{" and header < path.stat().st_size


def _load_pickle(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            # How a file was pickled is nothing that its reader can act on.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch goes on to advise switching the check off, which is never the answer here.
        reason = str(error).split("WeightsUnpickler error:")[-1].strip().splitlines()
        raise ModelError(
            f"model.weights: {path.name} is refused: it is damaged, or holds more than tensors ({reason[0] if reason else 'unreadable'}); "
            "save model.state_dict() alone, best as safetensors"
        ) from error
    except OSError:
        raise
    except Exception as error:
        if is_memory_error(error):
            raise
        raise ModelError(f"model.weights: {path.name} is damaged or no file of torch.save: {error}") from error


def _state_dict(loaded: object, name: str) -> dict[str, torch.Tensor]:
    if isinstance(loaded, Mapping) and isinstance(loaded.get(_WRAPPER), Mapping):
        loaded = loaded[_WRAPPER]
    if not isinstance(loaded, Mapping):
        raise ModelError(f"model.weights: {name} holds a {type(loaded).__name__}, not a state dict; save model.state_dict()")
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise ModelError(f"model.weights: {name} is no state dict: {key!r} is a {type(value).__name__}; save model.state_dict()")
    if loaded and all(key.startswith(_PARALLEL) for key in loaded):
        return {key.removeprefix(_PARALLEL): value for key, value in loaded.items()}
    return dict(loaded)

"""Networks built by a Python factory of the pod's image."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from imagejob_runner.exceptions import ModelError
from imagejob_runner.functions import find_callable
from imagejob_runner.models.device import is_device_error


def find_factory(path: str) -> Callable[..., Any]:
    """The factory that a path names; see `find_callable`.

    Raises:
        ModelError: It cannot be imported, or is not there.
    """
    return find_callable(path, "model.architecture", ModelError)


def build(path: str, arguments: Mapping[str, Any]) -> torch.nn.Module:
    """Calls the factory that `path` names, as in `find_factory`, with `arguments`.

    Raises:
        ModelError: There is no such factory, it fails, or it returns no torch.nn.Module.
        Exception: What `is_device_error` tells apart.
    """
    where = f"model.architecture: {path!r}"
    factory = find_factory(path)
    try:
        network = factory(**arguments)
    except Exception as error:
        if is_device_error(error):
            raise
        raise ModelError(f"{where} failed with arguments {dict(arguments)}: {type(error).__name__}: {error}") from error
    if not isinstance(network, torch.nn.Module):
        raise ModelError(f"{where} returned a {type(network).__name__}, not a torch.nn.Module")
    return network

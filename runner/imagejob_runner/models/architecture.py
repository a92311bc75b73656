"""Networks built by a Python factory of the pod's image."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch

from imagejob_runner.exceptions import ModelError


def find_factory(path: str) -> Callable[..., Any]:
    """The factory that ``module:function`` (or ``module:Class.method``) names.

    Raises:
        ModelError: It cannot be imported, or is not there.
    """
    where = f"model.architecture: {path!r}"
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise ModelError(f"{where} is not of the form module:function, as in torchvision.models:resnet50")
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise ModelError(f"{where}: {error}; install its package in the pod's image (on a laptop, beside imagejob)") from error
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ModelError(f"{where}: {module_name} has no {attribute}") from None
    if not callable(found):
        raise ModelError(f"{where} is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]


def build(path: str, arguments: Mapping[str, Any]) -> torch.nn.Module:
    """Calls the factory that `path` names, as in `find_factory`, with `arguments`.

    Raises:
        ModelError: There is no such factory, it fails, or it returns no torch.nn.Module.
    """
    where = f"model.architecture: {path!r}"
    factory = find_factory(path)
    try:
        network = factory(**arguments)
    except Exception as error:
        raise ModelError(f"{where} failed with arguments {dict(arguments)}: {type(error).__name__}: {error}") from error
    if not isinstance(network, torch.nn.Module):
        raise ModelError(f"{where} returned a {type(network).__name__}, not a torch.nn.Module")
    return network

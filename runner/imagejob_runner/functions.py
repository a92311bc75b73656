"""Finding the Python functions that a pipeline names.

Whoever writes a pipeline chooses which code of the pod's image is called, and with which arguments. What is refused here are callables that
are made to run whatever they are given: Python's own, and those of modules that fetch, unpickle or build code. That is a guard, no wall: a
package may hold such a function, too. The wall is a list of the modules that are allowed.
"""

import importlib
import os
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Final

from imagejob_api.pod import ENV_ALLOWED_MODULES
from imagejob_runner.exceptions import InvalidJobError
from imagejob_runner.origin import is_python_s_own, is_within, origins

_OWN_FRAMES: Final = 2
"""Of an import that fails: `find_callable`, and the one of importlib that it calls."""
_CODE_LOADERS: Final = (
    *("torch.hub", "torch.package", "torch.serialization", "torch.utils.cpp_extension"),
    *("pip", "setuptools", "pkg_resources"),
)
"""Modules whose functions fetch, unpickle or build code, which no digest of the image covers."""


def find_callable(path: str, field: str, refused: type[InvalidJobError] = InvalidJobError) -> Callable[..., Any]:
    """The function that ``module:function`` (or ``module:Class.method``) names.

    It may not be one that Python itself defines, nor one of a module that loads code, by whatever name it goes; and where
    ``$IMAGEJOB_ALLOWED_MODULES`` (comma-separated) is set, both the module that is named and one that defines the function must be in it
    or below. A module that may not be used is not imported.

    Args:
        path: The name.
        field: Where it is written, for the message.
        refused: What is raised.

    Raises:
        InvalidJobError: It cannot be imported, for whatever reason, is not there, or may not be called; or the `refused` that was given.
    """
    where = f"{field}: {path!r}"
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise refused(f"{where} is not of the form module:function, as in torchvision.models:resnet50")
    if (reason := _objection((module_name,))) is not None:
        raise refused(f"{where} {reason}")
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise refused(
            f"{where}: cannot import {module_name!r} ({error}). Its package must be installed beside imagejob, in a cluster in the pods' "
            "image; or it lies below the current folder"
        ) from error
    except (Exception, SystemExit) as error:
        raise refused(
            f"{where}: {module_name!r} fails when it is imported: {type(error).__name__}: {error}{_place(error)}; correct the code there"
        ) from error
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise refused(f"{where}: {module_name!r} has no {attribute!r}") from None
    if not callable(found):
        raise refused(f"{where} is a {type(found).__name__}, not a function")
    if (reason := _objection(origins(found))) is not None:
        raise refused(f"{where} {reason}")
    return found  # type: ignore[no-any-return]


def _objection(modules: Sequence[str]) -> str | None:
    """Why a callable that these modules define, the outermost first, may not be called; None if it may."""
    if all(map(is_python_s_own, modules)):
        return (
            f"is Python's own (defined in {modules[-1]!r}), and a pipeline may not call it. Name a function of a package in the image, "
            "or write a function in a module of your own"
        )
    if loader := next((module for module in modules if any(is_within(module, name) for name in _CODE_LOADERS)), None):
        return (
            f"is from {loader!r}, which fetches or builds code that nobody has looked at, and a pipeline may not call it. Install what "
            "you need in the image and name that, or call it in a module of your own"
        )
    allowed = [name for name in (part.strip() for part in os.environ.get(ENV_ALLOWED_MODULES, "").split(",")) if name]
    if allowed and not any(is_within(module, name) for module in modules for name in allowed):
        return (
            f"is from {modules[-1]!r}, which is not among the modules that are allowed here: {', '.join(allowed)}. Use one of these, "
            f"or ask whoever runs the cluster to add it (the chart's runner.allowedModules, which sets {ENV_ALLOWED_MODULES} in pods)"
        )
    return None


def _place(error: BaseException) -> str:
    """The line of the module's own code that failed, which most errors do not tell."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)[_OWN_FRAMES:] if not frame.filename.startswith("<frozen ")]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""

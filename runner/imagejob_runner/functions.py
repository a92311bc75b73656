"""Finding the Python functions that a pipeline names."""

import importlib
import traceback
from collections.abc import Callable
from typing import Any, Final

from imagejob_runner.exceptions import InvalidJobError

_OWN_FRAMES: Final = 2
"""Of an import that fails: `find_callable`, and the one of importlib that it calls."""


def find_callable(path: str, field: str, refused: type[InvalidJobError] = InvalidJobError) -> Callable[..., Any]:
    """The function that ``module:function`` (or ``module:Class.method``) names.

    Args:
        path: The name.
        field: Where it is written, for the message.
        refused: What is raised.

    Raises:
        InvalidJobError: It cannot be imported, for whatever reason, or is not there; or the `refused` that was given.
    """
    where = f"{field}: {path!r}"
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise refused(f"{where} is not of the form module:function, as in torchvision.models:resnet50")
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
    return found  # type: ignore[no-any-return]


def _place(error: BaseException) -> str:
    """The line of the module's own code that failed, which most errors do not tell."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)[_OWN_FRAMES:] if not frame.filename.startswith("<frozen ")]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""

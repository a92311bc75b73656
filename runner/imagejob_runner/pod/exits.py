"""How a pod's process ends: the one place where an error becomes an exit code and a message."""

from typing import Final

from imagejob_api.pod import RunnerExit
from imagejob_api.redaction import redacted
from imagejob_runner.exceptions import (
    DeviceError,
    InvalidJobError,
    InvalidSourceError,
    ModelError,
    OutputRefusedError,
    RunnerError,
    StorageError,
    StorageRefusedError,
)
from nodelease import LeaseError


class StoppedError(RunnerError):
    """The process was asked to end before its part was done."""


EXITS: Final[tuple[tuple[type[Exception], RunnerExit], ...]] = (
    (StoppedError, RunnerExit.STOPPED),
    (InvalidSourceError, RunnerExit.INVALID_SOURCE),
    (OutputRefusedError, RunnerExit.OUTPUT_REFUSED),
    (ModelError, RunnerExit.MODEL_REFUSED),
    (InvalidJobError, RunnerExit.INVALID_JOB),
    (StorageRefusedError, RunnerExit.STORAGE_REFUSED),
    (StorageError, RunnerExit.STORAGE),
    (DeviceError, RunnerExit.DEVICE),
    (RunnerError, RunnerExit.CRASHED),
    (LeaseError, RunnerExit.CRASHED),
    (ImportError, RunnerExit.INVALID_JOB),
)
"""Exit codes of errors that are made on purpose, and of what an image lacks; the first that fits counts."""


def exit_of(error: Exception) -> RunnerExit | None:
    """The exit code of an error that is no defect of imagejob; None for a defect."""
    return next((code for kind, code in EXITS if isinstance(error, kind)), None)


def message_of(error: Exception) -> str:
    """What an error tells whoever looks at the pod."""
    text = redacted(str(error).strip())
    if isinstance(error, ImportError):
        return _what_the_image_lacks(error)
    if exit_of(error) is not None and text:
        return text
    return f"internal error, please report it: {type(error).__name__}: {text}"


def _what_the_image_lacks(error: ImportError) -> str:
    package = (error.name or "").partition(".")[0]
    missing = f"the Python package {package} is not in this image" if package and isinstance(error, ModuleNotFoundError) else ""
    lacks = missing or f"the image cannot import {error.name or 'a Python package'}"
    return f"{lacks} ({error}): build an image from the runner's that holds it, and name it in template.image"

"""The termination message: what a pod leaves behind when it ends."""

import logging
from pathlib import Path
from typing import Final

from imagejob_api.pod import TERMINATION_BYTES, ErrorReport, PodResult

MESSAGE_CHARACTERS: Final = 2048
"""As `ErrorReport.message` allows."""
_CUT: Final = "…"

logger = logging.getLogger(__name__)


def failure(result: PodResult, message: str) -> PodResult:
    """A result with the reason of a failure, shortened so that all of it fits into a termination message."""
    kept = min(len(message), MESSAGE_CHARACTERS)
    while True:
        text = message if kept == len(message) else message[: kept - 1] + _CUT
        found = result.model_copy(update={"error": ErrorReport(message=text)})
        excess = len(found.encoded().encode()) - TERMINATION_BYTES
        if excess <= 0:
            return found
        # A character may take up to six bytes in JSON: going by them as if they were one each may cut too much only at the very end.
        kept = max(1, kept - max(1, excess // 6))


def write_result(path: Path, result: PodResult) -> None:
    """Writes a termination message. Where there is no such file, as outside of a pod, that is only said."""
    try:
        path.write_bytes(result.encoded().encode())
    except OSError as error:
        logger.warning("%s cannot be written: %s", path, error.strerror)

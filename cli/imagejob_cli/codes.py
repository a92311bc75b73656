"""The exit code of several jobs together."""

from collections.abc import Sequence
from typing import Final

from imagejob_runner.constants import ExitCode

WORST_FIRST: Final = (
    ExitCode.INTERRUPTED,
    ExitCode.STORAGE,
    ExitCode.INVALID,
    ExitCode.TIMEOUT,
    ExitCode.JOB_FAILED,
    ExitCode.CANCELLED,
    ExitCode.PARTIAL,
    ExitCode.SUCCEEDED,
)
"""Which of several jobs' ends is told."""


def worst(codes: Sequence[ExitCode]) -> ExitCode:
    """The one that is told."""
    return min(codes, key=WORST_FIRST.index)

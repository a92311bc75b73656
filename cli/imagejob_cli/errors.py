"""What a mistake ends in: its message on standard error and its exit code, never a traceback. A defect of ours keeps its traceback."""

import sys
from collections.abc import Callable

import click

from imagejob_api.exceptions import InvalidFileError
from imagejob_runner.constants import ExitCode
from imagejob_runner.exceptions import RunnerError


def guarded(command: Callable[[], object]) -> int:
    """Runs a command and returns its exit code: what it returns if that is a number, else 0."""
    try:
        result = command()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except Exception as error:
        code = exit_code(error)
        if code is None:
            raise
        print(f"Error: {error}", file=sys.stderr)
        return code
    return result if isinstance(result, int) else ExitCode.SUCCEEDED


def exit_code(error: Exception) -> ExitCode | None:
    """The exit code of an error made on purpose; None for any other."""
    if isinstance(error, RunnerError):
        return error.exit_code
    if isinstance(error, InvalidFileError):
        return ExitCode.INVALID
    if "nodelease" not in sys.modules:  # nobody has used it, so the error is none of its
        return None
    from nodelease import AcquireTimeoutError, InvalidRequestError, LeaseError, LimitNotFoundError

    if isinstance(error, AcquireTimeoutError):
        return ExitCode.TIMEOUT
    if isinstance(error, InvalidRequestError | LimitNotFoundError):
        return ExitCode.INVALID
    return ExitCode.STORAGE if isinstance(error, LeaseError) else None

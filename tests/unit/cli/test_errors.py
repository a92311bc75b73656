import click
import pytest

import nodelease
from imagejob_api.exceptions import InvalidFileError, Problem
from imagejob_cli.errors import guarded
from imagejob_runner import exceptions


def raising(error: BaseException) -> object:
    raise error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (exceptions.RunnerError("no"), 1),
        (exceptions.FingerprintError("no"), 2),
        (exceptions.StorageError("no"), 3),
        (InvalidFileError([Problem("job.yaml", "no")]), 2),
        (nodelease.AcquireTimeoutError("no"), 124),
        (nodelease.LimitNotFoundError("no"), 2),
        (nodelease.InvalidRequestError("no"), 2),
        (nodelease.StoreUnavailableError("no"), 3),
        (nodelease.LocalDirectoryError("no"), 3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_end_in_their_message_and_code(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(lambda: raising(error)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"Error: {error}\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()], ids=lambda value: type(value).__name__)
def test_an_interruption_is_130(error: BaseException) -> None:
    assert guarded(lambda: raising(error)) == 130


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        guarded(lambda: 1 // 0)


def test_a_command_returns_its_code() -> None:
    assert guarded(lambda: 5) == 5
    assert guarded(lambda: None) == 0

"""Every error made on purpose has an exit code, and every result fits into a termination message."""

import json
from pathlib import Path

import pytest

from imagejob_api.pod import TERMINATION_BYTES, PodImages, PodResult, RunnerExit, SummaryReport
from imagejob_runner import exceptions
from imagejob_runner.exceptions import RunnerError
from imagejob_runner.pod.exits import StoppedError, exit_of, message_of
from imagejob_runner.pod.result import failure, write_result
from nodelease import LimitNotFoundError, StoreUnavailableError

EXPECTED = {
    "RunnerError": RunnerExit.CRASHED,
    "InvalidJobError": RunnerExit.INVALID_JOB,
    "InvalidSourceError": RunnerExit.INVALID_SOURCE,
    "DuplicateIdError": RunnerExit.INVALID_SOURCE,
    "OutputRefusedError": RunnerExit.OUTPUT_REFUSED,
    "FingerprintError": RunnerExit.OUTPUT_REFUSED,
    "OutputExistsError": RunnerExit.OUTPUT_REFUSED,
    "ModelError": RunnerExit.MODEL_REFUSED,
    "StorageError": RunnerExit.STORAGE,
    "StorageRefusedError": RunnerExit.STORAGE_REFUSED,
    "StorageAwayError": RunnerExit.STORAGE,
    "DeviceError": RunnerExit.DEVICE,
}


def runner_errors() -> list[type[RunnerError]]:
    return [kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, RunnerError)]


@pytest.mark.parametrize("kind", runner_errors(), ids=lambda kind: kind.__name__)
def test_each_error_has_its_code_and_keeps_its_words(kind: type[RunnerError]) -> None:
    assert exit_of(kind("what and why")) is EXPECTED[kind.__name__]
    assert message_of(kind("what and why")) == "what and why"


def test_what_belongs_to_pods_alone() -> None:
    assert exit_of(StoppedError("asked to")) is RunnerExit.STOPPED
    assert exit_of(StoreUnavailableError("no answer")) is RunnerExit.CRASHED
    assert exit_of(LimitNotFoundError("no such limit")) is RunnerExit.CRASHED


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), OSError(28, "No space left on device"), RuntimeError()])
def test_a_defect_says_that_it_is_one(error: Exception) -> None:
    assert exit_of(error) is None
    assert message_of(error).startswith(f"internal error, please report it: {type(error).__name__}")
    assert str(error) in message_of(error)


def test_only_what_no_attempt_can_help_ends_the_job() -> None:
    assert {code for code in RunnerExit if code.permanent} == {
        RunnerExit.INVALID_JOB,
        RunnerExit.INVALID_SOURCE,
        RunnerExit.MODEL_REFUSED,
        RunnerExit.OUTPUT_REFUSED,
        RunnerExit.STORAGE_REFUSED,
    }


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "the Python package torch is not in this image (No module named"),
        (ModuleNotFoundError("No module named 'a.b'", name="a.b"), "the Python package a is not"),
        (ImportError("libGL.so.1: cannot open shared object file", name="cv2"), "the image cannot import cv2 (libGL.so.1: cannot open"),
        (ImportError("no"), "the image cannot import a Python package (no)"),
    ],
    ids=["torch", "below", "library", "unnamed"],
)
def test_what_the_image_lacks_is_named_and_no_attempt_can_help(error: ImportError, words: str) -> None:
    assert exit_of(error) is RunnerExit.INVALID_JOB
    assert message_of(error).startswith(words)
    assert message_of(error).endswith("build an image from the runner's that holds it, and name it in template.image")


@pytest.mark.parametrize(
    "message",
    ["short", "a" * 2048, "a" * 5000, "ü" * 5000, "📷" * 5000, "\x00" * 5000, '"' * 5000, "line\n" * 1000, "\x00📷ü\n" * 900],
    ids=["short", "just fits", "plain", "two bytes", "four bytes", "control", "quotes", "lines", "mixed"],
)
def test_a_failure_fits_into_a_termination_message(message: str) -> None:
    report = SummaryReport(total=10**9, succeeded=10**9, failed=10**9, skipped=10**9, within_policy=False)
    given = PodResult(images=PodImages(succeeded=10**9, failed=10**9, skipped=10**9), summary=report)
    made = failure(given, message)
    encoded = made.encoded().encode()
    assert len(encoded) <= TERMINATION_BYTES
    assert PodResult.model_validate_json(encoded) == made
    assert made.images == given.images
    assert made.error is not None
    kept = made.error.message
    if kept != message:
        assert kept.endswith("…")
        assert message.startswith(kept[:-1])
        room = min(2048 - len(kept), TERMINATION_BYTES - len(encoded))
        assert room < 100, "no more is cut off than has to be"
    else:
        assert len(message) <= 2048


def test_a_short_message_is_kept_whole() -> None:
    assert json.loads(failure(PodResult(), "what").encoded())["error"] == {"message": "what"}


def test_a_result_is_written_in_place(tmp_path: Path) -> None:
    file = tmp_path / "termination-log"
    file.touch()
    before = file.stat().st_ino
    write_result(file, PodResult(images=PodImages(failed=2)))
    assert PodResult.model_validate_json(file.read_bytes()).images.failed == 2
    assert file.stat().st_ino == before, "the file is a mount: it cannot be replaced"


def test_a_result_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_result(tmp_path / "no folder" / "termination-log", PodResult())
    assert "cannot be written" in caplog.text

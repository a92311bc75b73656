"""Whose fault failed images are, in the words of every message about them."""

import pytest

from imagejob_api.failure import _BY_CODE, blame, fault_of, most_failed
from imagejob_api.pod import LONGEST_EXAMPLE
from imagejob_api.reasons import Fault
from imagejob_runner.constants import ErrorCode


def test_every_error_code_is_somebodys_fault() -> None:
    codes = {value for name, value in vars(ErrorCode).items() if name.isupper()}

    assert set(_BY_CODE) == codes - {ErrorCode.SKIPPED}, "a skipped image has not failed"


@pytest.mark.parametrize(
    ("code", "whose"),
    [("CallFailed", Fault.MODEL), ("InferenceFailed", Fault.MODEL), ("NotFound", Fault.INPUT), ("ConnectionFailed", Fault.INFRASTRUCTURE)],
)
def test_whose_fault(code: str, whose: Fault) -> None:
    assert fault_of(code) is whose


def test_the_commonest_error_is_told_with_one_image() -> None:
    most = most_failed({"NotFound": 2, "CallFailed": 18}, {"CallFailed": "a.jpg: ValueError: no\n faces", "NotFound": "b.jpg: gone"})

    assert blame(most) == " 18 with CallFailed, a fault of the model or the pipeline, as a.jpg: ValueError: no faces."
    assert blame(most_failed({"NotFound": 1}, {})) == " 1 with NotFound, a fault of the input."
    assert blame(most_failed({}, {})) == ""


def test_an_example_is_no_longer_than_a_report_may_have() -> None:
    most = most_failed({"CallFailed": 1}, {"CallFailed": "x" * 10_000})

    assert most is not None
    assert len(most.example) == LONGEST_EXAMPLE

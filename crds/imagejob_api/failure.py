"""When too many images fail for a run to go on, and whose fault it is: the same rule on one machine and on a cluster."""

from collections.abc import Mapping
from typing import Final

from imagejob_api.imagejob import FailurePolicy
from imagejob_api.pod import LONGEST_EXAMPLE, FailedImages
from imagejob_api.reasons import Fault

RATE_FROM_IMAGES: Final = 100
"""The failure rate is looked at from this many images on: before, one bad image would end a good job."""


def too_many_failures(policy: FailurePolicy, failed: int, done: int) -> str | None:
    """Why a run should not go on, while `done` images have ended and `failed` of them have failed."""
    if policy.max_failures is not None and failed > policy.max_failures:
        return f"{failed} images failed; failurePolicy.maxFailures allows {policy.max_failures}."
    if done >= RATE_FROM_IMAGES and failed > policy.max_failure_rate * done:
        return f"{failed} of {done} images failed; failurePolicy.maxFailureRate allows a part of {policy.max_failure_rate:g}."
    return None


_FAULTS: Final = {
    Fault.INPUT: (
        "NotFound PermissionDenied HttpStatus AddressForbidden TooManyRedirects BodyTooLarge InvalidUrl EmptyFile UnsupportedFormat "
        "TruncatedImage CorruptImage TooManyPixels TooLargeToDecode NoSuchFrame DecoderDied"
    ),
    Fault.MODEL: "InferenceFailed InvalidOutput CallFailed Timeout",
    Fault.INFRASTRUCTURE: "ConnectionFailed StorageFailed OutOfMemory Internal",
}
"""Error codes of rows by where their cause lies."""
_BY_CODE: Final = {code: fault for fault, codes in _FAULTS.items() for code in codes.split()}
_WHOSE: Final = {
    Fault.INPUT: "a fault of the input",
    Fault.MODEL: "a fault of the model or the pipeline",
    Fault.INFRASTRUCTURE: "a fault of the infrastructure",
}


def fault_of(code: str) -> Fault:
    """Where the cause of an image's error lies; that of a code nobody knows is looked for in the input."""
    return _BY_CODE.get(code, Fault.INPUT)


def most_failed(codes: Mapping[str, int], examples: Mapping[str, str]) -> FailedImages | None:
    """Of failed images those with the commonest error code; of several equally common ones the first by name.

    Args:
        codes: How many failed with each code.
        examples: Id and message of one image for each code.
    """
    if not codes:
        return None
    code = max(sorted(codes), key=lambda code: codes[code])
    return FailedImages(code=code, count=codes[code], example=shortened(examples.get(code, "")))


def shortened(example: str) -> str:
    """An example on one line, no longer than a report may have."""
    text = " ".join(example.split())
    return text if len(text) <= LONGEST_EXAMPLE else f"{text[: LONGEST_EXAMPLE - 1]}…"


def blame(most: FailedImages | None) -> str:
    """What most failed images died of, whose fault that is, and one of them; a sentence that begins with a blank, or nothing."""
    if most is None or not most.count:
        return ""
    example = f", as {most.example}" if most.example else ""
    return f" {most.count} with {most.code}, {_WHOSE[fault_of(most.code)]}{example}{'' if example.endswith('.') else '.'}"

"""Names and numbers that more than one module of the runner relies on."""

from enum import IntEnum
from typing import Final

INTERNAL_FOLDER: Final = "_imagejob"
PLAN_FILE: Final = f"{INTERNAL_FOLDER}/plan.json"
WRITABLE_FILE: Final = f"{INTERNAL_FOLDER}/writable"
"""Written into an object store before anything else, to see that it can be."""
MANIFEST_FOLDER: Final = f"{INTERNAL_FOLDER}/manifest"
SUSPECTS_FOLDER: Final = f"{INTERNAL_FOLDER}/suspects"
HOLDS_FOLDER: Final = f"{INTERNAL_FOLDER}/holds"
RESULTS_FOLDER: Final = "results"
IMAGES_FOLDER: Final = "images"
ERRORS_FILE: Final = "errors.jsonl"
SUMMARY_FILE: Final = "summary.json"
SUCCESS_FILE: Final = "_SUCCESS"


class ExitCode(IntEnum):
    """Exit codes of `imagejob` and of the runner."""

    SUCCEEDED = 0
    JOB_FAILED = 1
    INVALID = 2
    STORAGE = 3
    CANCELLED = 4
    PARTIAL = 5
    TIMEOUT = 124
    INTERRUPTED = 130


class ErrorCode:
    """Stable codes of `error.code` in a row. Users write programs against them: add, never change."""

    # download
    NOT_FOUND: Final = "NotFound"
    PERMISSION_DENIED: Final = "PermissionDenied"
    HTTP_STATUS: Final = "HttpStatus"
    ADDRESS_FORBIDDEN: Final = "AddressForbidden"
    TOO_MANY_REDIRECTS: Final = "TooManyRedirects"
    BODY_TOO_LARGE: Final = "BodyTooLarge"
    CONNECTION_FAILED: Final = "ConnectionFailed"
    INVALID_URL: Final = "InvalidUrl"
    STORAGE_FAILED: Final = "StorageFailed"
    # decode
    EMPTY_FILE: Final = "EmptyFile"
    UNSUPPORTED_FORMAT: Final = "UnsupportedFormat"
    TRUNCATED_IMAGE: Final = "TruncatedImage"
    CORRUPT_IMAGE: Final = "CorruptImage"
    TOO_MANY_PIXELS: Final = "TooManyPixels"
    TOO_LARGE_TO_DECODE: Final = "TooLargeToDecode"
    NO_SUCH_FRAME: Final = "NoSuchFrame"
    DECODER_DIED: Final = "DecoderDied"
    # work
    INFERENCE_FAILED: Final = "InferenceFailed"
    INVALID_OUTPUT: Final = "InvalidOutput"
    OUT_OF_MEMORY: Final = "OutOfMemory"
    CALL_FAILED: Final = "CallFailed"
    SKIPPED: Final = "Skipped"
    TIMEOUT: Final = "Timeout"
    INTERNAL: Final = "Internal"

"""Rows: what is written about each input. The format is documented in docs/rows.md."""

from typing import Any

from imagejob_api.redaction import kept_url, redacted
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError, SkipImage
from imagejob_runner.item import ImageItem

Row = dict[str, Any]
"""``{id, url, status, outputs, error, provenance, timings}``; `error` is None unless failed or skipped."""


def row_of(item: ImageItem, error: Exception | None = None, attempts: int = 1) -> Row:
    """The row of an item that is done, or that ended with an ImageError or SkipImage."""
    status, problem = "ok", None
    if isinstance(error, SkipImage):
        status = "skipped"
        problem = {"code": ErrorCode.SKIPPED, "message": redacted(str(error)), "attempts": attempts, "retryable": False}
    elif isinstance(error, ImageError):
        status = "failed"
        problem = {"code": error.code, "message": error.message, "attempts": attempts, "retryable": error.retryable}
    elif error is not None:
        raise TypeError(f"a row is made of an ImageError or SkipImage, not {type(error).__name__}")
    return {
        "id": item.id,
        "url": kept_url(item.url),
        "status": status,
        "outputs": item.outputs,
        "error": problem,
        "provenance": item.provenance,
        "timings": {name: round(seconds * 1e6) / 1e6 for name, seconds in item.timings.items()},  # twice as fast as round(…, 6)
    }

"""Checks what the end of a job has written: the files for people must say what the parts say, and the mark of success must be earned."""

import contextlib
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from imagejob_runner.constants import ERRORS_FILE, SUCCESS_FILE, SUMMARY_FILE
from imagejob_runner.exceptions import StorageError
from imagejob_runner.output.codec import encode_row
from imagejob_runner.output.report import VerifyReport
from imagejob_runner.output.summary import Summary, read_summary
from imagejob_runner.planning import Plan
from imagejob_runner.rows import Row
from imagejob_runner.storage import OutputStore

_RESUME: Final = "run the same job again to go on"
_REDO: Final = "delete the file and run the same job again"


@dataclass(slots=True)
class Ended:
    """What the parts say about the end: a few bytes for each chunk that has failed rows."""

    codes: Counter[str] = field(default_factory=Counter)
    """Failed rows by code."""
    failures: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    """For each chunk that has some: how many failed rows, and the digest of their lines."""

    def add(self, chunk: int, rows: Sequence[Row]) -> None:
        """Takes a chunk in."""
        failed = [row for row in rows if row["status"] == "failed"]
        if failed:
            self.codes.update(row["error"]["code"] for row in failed)
            self.failures[chunk] = (len(failed), hashlib.sha256(b"".join(map(encode_row, failed))).digest())


async def check_end(output: OutputStore, plan: Plan, ended: Ended, report: VerifyReport) -> None:
    """Checks ``errors.jsonl``, ``summary.json`` and ``_SUCCESS`` against the parts, and adds what is wrong to a report."""
    whole = report.ok
    mark = await output.read(SUCCESS_FILE)
    if mark is not None and not whole:
        report.add(SUCCESS_FILE, None, "the output is marked as a success, but not all is right", _RESUME)
    if mark:
        report.add(SUCCESS_FILE, None, f"has {len(mark)} bytes, but is always empty", _REDO)
    try:
        summary = await read_summary(output)
    except StorageError as error:
        report.add(SUMMARY_FILE, None, str(error), _REDO)
        return
    if summary is None:
        if mark is not None or whole:
            report.add(SUMMARY_FILE, None, "missing, although the rows are whole", _RESUME)
        return
    _check_summary(summary, plan, ended, report)
    if whole and summary.success and mark is None:
        report.add(SUCCESS_FILE, None, f"missing, although {SUMMARY_FILE} says that the job succeeded", _RESUME)
    if mark is not None and not summary.within_policy:
        report.add(SUCCESS_FILE, None, f"the output is marked as a success, but {SUMMARY_FILE} says it failed", _RESUME)
    if whole:
        await _check_errors(output, ended, report)


def _check_summary(summary: Summary, plan: Plan, ended: Ended, report: VerifyReport) -> None:
    if (summary.name, summary.fingerprint) != (plan.name, plan.fingerprint):
        report.add(SUMMARY_FILE, None, f"is of another job, {summary.name!r}; this output is of {plan.name!r}", _RESUME)
    counts = {"total": summary.total, "succeeded": summary.succeeded, "failed": summary.failed, "skipped": summary.skipped}
    if counts != report.counts:
        report.add(SUMMARY_FILE, None, f"says {counts}, but the parts say {report.counts}", _RESUME)
    elif dict(summary.error_codes) != dict(ended.codes):
        report.add(SUMMARY_FILE, None, f"says {dict(summary.error_codes)} of errors, but the parts say {dict(ended.codes)}", _RESUME)


async def _check_errors(output: OutputStore, ended: Ended, report: VerifyReport) -> None:
    """The failed rows once more: the very lines, chunk by chunk."""
    listed = 0
    wrong: int | None = None
    try:
        async with contextlib.aclosing(output.lines(ERRORS_FILE)) as lines:
            for _, (count, digest) in sorted(ended.failures.items()):
                found = await _take(lines, count)
                if wrong is None and hashlib.sha256(b"".join(found)).digest() != digest:
                    wrong = listed + 1
                listed += len(found)
            async for _ in lines:
                listed += 1
    except StorageError as error:
        report.add(ERRORS_FILE, None, f"not there, or not to be read: {error}", _RESUME)
        return
    if listed != report.failed:
        report.add(ERRORS_FILE, None, f"lists {listed} failed rows, but the parts have {report.failed}", _RESUME)
    elif wrong is not None:
        report.add(ERRORS_FILE, wrong, "here or soon after, a line is not the failed row that the parts have", _RESUME)


async def _take(lines: AsyncIterator[bytes], count: int) -> list[bytes]:
    found: list[bytes] = []
    with contextlib.suppress(StopAsyncIteration):
        while len(found) < count:
            found.append(await anext(lines))
    return found

"""Proves from an output alone that every input has exactly one row and that no slot was held twice at once.

Nothing that the run said about itself is believed: the manifest says what there must be, the parts say what there is. One chunk at a time
is in memory, so an output of any size can be checked.
"""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Final

from imagejob_runner.constants import ERRORS_FILE, RESULTS_FOLDER, SUCCESS_FILE, SUMMARY_FILE
from imagejob_runner.exceptions import StorageError
from imagejob_runner.output.codec import decode_rows
from imagejob_runner.output.holds import check_holds
from imagejob_runner.output.parts import chunk_name, chunk_of
from imagejob_runner.output.report import VerifyReport
from imagejob_runner.output.summary import read_summary
from imagejob_runner.planning import Chunk, Plan, read_plan, shard_chunks
from imagejob_runner.rows import Row
from imagejob_runner.sources import Entry
from imagejob_runner.storage import OutputStore

_RESUME: Final = "run the same job again to go on"
_REDO: Final = "delete the file and run the same job again"
_FOREIGN: Final = "remove it: nothing of this job wrote it"
_SHOWN: Final = 80


async def verify(output: OutputStore) -> VerifyReport:
    """Checks an output from top to bottom.

    Args:
        output: The output.

    Returns:
        What was found; `VerifyReport.ok` is the verdict.

    Raises:
        StorageError: There is no plan, or something cannot be read at all.
    """
    plan = await read_plan(output)
    report = VerifyReport(output.url, total=plan.total)
    present = await _parts(output, plan, report)
    for shard in range(plan.shards):
        await _check_shard(output, plan, shard, present, report)
    await _check_files(output, report)
    await check_holds(output, report)
    return report


async def _parts(output: OutputStore, plan: Plan, report: VerifyReport) -> set[int]:
    present: set[int] = set()
    async for name in output.names(RESULTS_FOLDER):
        chunk = chunk_of(plan, name)
        if chunk is None:
            report.add(name, None, "no chunk of the plan has this part", _FOREIGN)
        else:
            present.add(chunk)
    return present


async def _check_shard(output: OutputStore, plan: Plan, shard: int, present: set[int], report: VerifyReport) -> None:
    chunks: AsyncIterator[Chunk] = shard_chunks(output, plan, shard)
    try:
        async for chunk in chunks:
            name = chunk_name(plan, shard, chunk.index)
            if chunk.index not in present:
                report.add(name, None, f"missing: {len(chunk.entries)} inputs have no row", _RESUME)
                continue
            data = await output.read(name)
            try:
                rows = decode_rows(data or b"", plan.format, name)
            except StorageError as error:
                report.add(name, None, str(error).removeprefix(f"{name}, "), _REDO)
                continue
            _check_rows(name, chunk.entries, rows, report)
    except StorageError as error:
        report.add(f"{plan.manifest}/{shard:05d}.jsonl", None, str(error), "the manifest must be whole: use another output")


def _check_rows(name: str, entries: Sequence[Entry], rows: Sequence[Row], report: VerifyReport) -> None:
    urls = {entry.id: entry.url for entry in entries}
    seen: Counter[str] = Counter()
    for line, row in enumerate(rows, 1):
        identity = row["id"]
        seen[identity] += 1
        if identity not in urls:
            report.add(name, line, f"a row of {_shown(identity)}, which is no input of this chunk", _REDO)
        elif seen[identity] > 1:
            report.add(name, line, f"{_shown(identity)} has a second row", _REDO)
        elif row["url"] != urls[identity]:
            report.add(name, line, f"the row of {_shown(identity)} has another URL than the input", _REDO)
        match row["status"]:
            case "ok":
                report.succeeded += 1
            case "failed":
                report.failed += 1
            case _:
                report.skipped += 1
    for identity in urls.keys() - seen.keys():
        report.add(name, None, f"{_shown(identity)} has no row", _REDO)


async def _check_files(output: OutputStore, report: VerifyReport) -> None:
    """The files for people must say what the parts say, and the mark of success must be earned."""
    whole = report.ok
    marked = await output.read(SUCCESS_FILE) is not None
    if marked and not whole:
        report.add(SUCCESS_FILE, None, "the output is marked as a success, but not all rows are right", _RESUME)
    try:
        summary = await read_summary(output)
    except StorageError as error:
        report.add(SUMMARY_FILE, None, str(error), _REDO)
        return
    if summary is None:
        if marked or whole:
            report.add(SUMMARY_FILE, None, "missing, although the rows are whole", _RESUME)
        return
    counts = {"total": summary.total, "succeeded": summary.succeeded, "failed": summary.failed, "skipped": summary.skipped}
    if counts != report.counts:
        report.add(SUMMARY_FILE, None, f"says {counts}, but the parts say {report.counts}", _RESUME)
    if whole and summary.success and not marked:
        report.add(SUCCESS_FILE, None, f"missing, although {SUMMARY_FILE} says that the job succeeded", _RESUME)
    if marked and not summary.within_policy:
        report.add(SUCCESS_FILE, None, f"the output is marked as a success, but {SUMMARY_FILE} says it failed", _RESUME)
    listed = 0
    with contextlib.suppress(StorageError):
        async for _ in output.lines(ERRORS_FILE):
            listed += 1
    if listed != report.failed:
        report.add(ERRORS_FILE, None, f"lists {listed} failed rows, but the parts have {report.failed}", _RESUME)


def _shown(identity: str) -> str:
    return repr(identity if len(identity) <= _SHOWN else f"{identity[:_SHOWN]}…")

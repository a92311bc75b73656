"""Checks the audit records: no two holds of one slot overlap, and fences grow.

Times are of CLOCK_BOOTTIME, which all processes of one boot of one node share; records of different boots are never compared. Fences are
compared within one run only: they go on also where a Lease is made again, but records of older versions began from nothing then.
"""

import json
from collections import defaultdict
from typing import Any, Final, NamedTuple

from imagejob_runner.constants import HOLDS_FOLDER
from imagejob_runner.exceptions import StorageError
from imagejob_runner.output.report import VerifyReport
from imagejob_runner.storage import OutputStore

_DEFECT: Final = "please report it with this file as a defect of imagejob"
_OVERLAP: Final = (
    "a process that stands still for longer than the lease duration (SIGSTOP, a suspended or overloaded machine) is taken for dead, and "
    "may yet finish its batch beside the next holder; if neither of these two stood still, please report it with this file as a defect"
)


class _Slot(NamedTuple):
    node: str
    boot: str
    limit: str
    slot: int


class _Record(NamedTuple):
    start: float
    end: float
    fence: int
    holder: str
    run: str
    file: str
    line: int


async def check_holds(output: OutputStore, report: VerifyReport) -> None:
    """Reads all audit records and adds what is wrong to a report. Memory grows with the number of holds, not with that of images."""
    slots: dict[_Slot, list[_Record]] = defaultdict(list)
    async for name in output.names(HOLDS_FOLDER):
        line = 0
        async for text in output.lines(name):
            line += 1
            try:
                slot, record = _parsed(text, name, line)
            except StorageError as error:
                report.add(name, line, str(error), "delete the line: that hold cannot be proved any more")
                continue
            slots[slot].append(record)
            report.holds.records += 1
    report.holds.slots = len(slots)
    for slot, records in slots.items():
        _check_slot(slot, sorted(records), report)


def _check_slot(slot: _Slot, records: list[_Record], report: VerifyReport) -> None:
    fences: dict[str, int] = {}
    latest: _Record | None = None
    for record in records:
        if latest is not None and record.start < latest.end:
            report.holds.overlaps += 1
            report.add(
                record.file,
                record.line,
                f"slot {slot.slot} of {slot.limit!r} on {slot.node}: {record.holder} held it from {record.start}, "
                f"but {latest.holder} until {latest.end} ({latest.file}, line {latest.line})",
                _OVERLAP,
            )
        if latest is None or record.end > latest.end:
            latest = record
        before = fences.get(record.run)
        if before is not None and record.fence <= before:
            report.add(
                record.file,
                record.line,
                f"slot {slot.slot} of {slot.limit!r} on {slot.node}: fence {record.fence} comes after {before}, but fences only grow",
                _DEFECT,
            )
        fences[record.run] = record.fence


def _parsed(text: bytes, file: str, line: int) -> tuple[_Slot, _Record]:
    try:
        fields: dict[str, Any] = json.loads(text)
        slot = _Slot(str(fields["node"]), str(fields["boot"]), str(fields["limit"]), int(fields["slot"]))
        record = _Record(float(fields["start"]), float(fields["end"]), int(fields["fence"]), str(fields["id"]), _run_of(file), file, line)
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"no audit record ({error})") from None
    if record.end < record.start:
        raise StorageError(f"the hold ends at {record.end}, before it starts at {record.start}")
    return slot, record


def _run_of(file: str) -> str:
    """The run in ``SSSSS-<run>-NNNN.jsonl``; the whole name for any other."""
    parts = file.rpartition("/")[2].split("-")
    return "-".join(parts[1:-1]) if len(parts) > 2 else file  # noqa: PLR2004  shard, run, number

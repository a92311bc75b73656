"""Checks the audit records: they are as they were written, no two holds of one slot overlap, and fences grow.

Times are of CLOCK_BOOTTIME, which all processes of one boot of one node share; records of different boots are never compared. Fences are
compared within one run only: they go on also where a Lease is made again, but records of older versions began from nothing then.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Final, NamedTuple

from imagejob_runner.constants import HOLDS_FOLDER
from imagejob_runner.output.report import VerifyReport
from imagejob_runner.sealed import DIGITS, strict_json
from imagejob_runner.storage import OutputStore

_NAME: Final = re.compile(
    rf"{HOLDS_FOLDER}/(?P<shard>[0-9]{{5,}})-(?P<run>.+)-(?P<number>[0-9]{{4,}})-(?P<digest>[0-9a-f]{{{DIGITS}}})\.jsonl"
)
_FIELDS: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("node", "boot", "limit", "id"), (str,)),
    **dict.fromkeys(("slot", "fence"), (int,)),
    **dict.fromkeys(("asked", "start", "end", "busy"), (int, float)),
    "waited": (bool,),
}
_DAMAGED: Final = "restore it: what its holds were cannot be proved any more"
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
    files: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    async for name in output.names(HOLDS_FOLDER):
        match = _NAME.fullmatch(name)
        if match is None:
            report.add(name, None, "no file of audit records has such a name", "remove it: nothing of this job wrote it")
            continue
        files[match["shard"], match["run"]].append((int(match["number"]), name))
        if await _read(output, name, match["run"], slots, report) != match["digest"]:
            report.add(name, None, "its bytes are not those that its name has the digest of", _DAMAGED)
    for (_, run), numbered in files.items():
        _check_numbers(run, sorted(numbered), report)
    report.holds.slots = len(slots)
    for slot, records in slots.items():
        _check_slot(slot, sorted(records), report)


async def _read(output: OutputStore, name: str, run: str, slots: dict[_Slot, list[_Record]], report: VerifyReport) -> str:
    """Takes in the records of a file; returns the digest of its bytes."""
    digest = hashlib.sha256()
    number = 0
    async for line in output.lines(name):
        number += 1
        digest.update(line)
        try:
            slot, record = _parsed(line, run, name, number)
        except ValueError as error:
            report.add(name, number, f"no audit record ({error})", _DAMAGED)
            continue
        slots[slot].append(record)
        report.holds.records += 1
    return digest.hexdigest()[:DIGITS]


def _check_numbers(run: str, files: list[tuple[int, str]], report: VerifyReport) -> None:
    """Makes sure that the files of a run go from 1 on. The order of their names says nothing: a long run has longer numbers in them."""
    before = 0
    for number, name in files:
        if number != before + 1:
            report.add(name, None, f"file {before + 1} of run {run} should stand before it", _DAMAGED)
        before = number


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


def _parsed(line: bytes, run: str, file: str, number: int) -> tuple[_Slot, _Record]:
    fields = strict_json(line)
    if not isinstance(fields, dict) or fields.keys() != _FIELDS.keys():
        raise ValueError(f"it has {', '.join(_FIELDS)}")
    wrong = next((name for name, kinds in _FIELDS.items() if type(fields[name]) not in kinds), None)
    if wrong is not None:
        raise ValueError(f"{wrong} is {str(fields[wrong])[:80]!r}")
    asked, start, end, busy = fields["asked"], fields["start"], fields["end"], fields["busy"]
    if end < start:
        raise ValueError(f"the hold ends at {end}, before it starts at {start}")
    if start < asked or busy < 0 or fields["slot"] < 0 or fields["fence"] < 0:
        raise ValueError(f"asked at {asked}, busy for {busy}, slot {fields['slot']}, fence {fields['fence']}: that cannot be")
    slot = _Slot(fields["node"], fields["boot"], fields["limit"], fields["slot"])
    return slot, _Record(start, end, fields["fence"], fields["id"], run, file, number)

"""Records of every hold of a slot: what `imagejob verify` proves mutual exclusion from, and where the figures of a run come from."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from imagejob_runner.constants import HOLDS_FOLDER
from imagejob_runner.sealed import short_digest
from imagejob_runner.statistics import percentile

KEPT_HOLDS = 5000
"""Newest holds of a limit that a `LimitTally` keeps one by one."""
KEPT_GAPS = 10_000
"""Newest hand-overs whose times are kept."""
BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Identity of the machine's current boot; times of CLOCK_BOOTTIME compare only within one."""
    try:
        return BOOT_ID_FILE.read_text().strip()
    except OSError:
        return "unknown"


@dataclass(frozen=True, slots=True)
class Hold:
    """One slot held once. All times are seconds of CLOCK_BOOTTIME.

    Attributes:
        node: Node that the slot belongs to.
        boot: Boot that the times belong to.
        limit: Name of the NodeLimit.
        slot: Number of the slot.
        fence: Names this holding for ever.
        id: The holder.
        asked: When it asked.
        start: When it could begin to use the slot.
        end: When it had stopped using it, before it was given back.
        busy: Seconds of work in between.
        waited: Whether it stood in the queue.
    """

    node: str
    boot: str
    limit: str
    slot: int
    fence: int
    id: str
    asked: float
    start: float
    end: float
    busy: float
    waited: bool

    def line(self) -> bytes:
        """The record as one JSON line."""
        return json.dumps(asdict(self), separators=(",", ":")).encode() + b"\n"


def holds_name(shard: int, run: str, number: int, data: bytes) -> str:
    """Name of a file of audit records: shard, run, its number in the run from 1 and the digest of its bytes."""
    return f"{HOLDS_FOLDER}/{shard:05d}-{run}-{number:04d}-{short_digest(data)}.jsonl"


@dataclass(frozen=True, slots=True)
class LimitFigures:
    """What a run did with one limit.

    Attributes:
        max_holders: Most slots in use at one moment.
        holds: Slots taken.
        held_seconds: Sum over slots of the time held.
        busy_seconds: Sum over slots of the time worked.
        wait_seconds: Sum over holds of the time from asking to holding.
        hand_over_ms: Gaps between one holder's end and the start of the next, where the next was waiting already; the last `KEPT_GAPS`.
        hand_over_seconds: Sum of all of these gaps.
        writes: Lease writes made by the run.
    """

    max_holders: int
    holds: int
    held_seconds: float
    busy_seconds: float
    wait_seconds: float
    hand_over_ms: tuple[float, ...]
    hand_over_seconds: float
    writes: int

    def as_json(self) -> dict[str, object]:
        """The figures as `imagejob run --json` prints them."""
        return {
            "maxHolders": self.max_holders,
            "holds": self.holds,
            "heldSeconds": round(self.held_seconds, 4),
            "busySeconds": round(self.busy_seconds, 4),
            "waitSeconds": round(self.wait_seconds, 4),
            "handOverSeconds": round(self.hand_over_seconds, 4),
            "handOverMs": {"p50": percentile(self.hand_over_ms, 50), "p99": percentile(self.hand_over_ms, 99)},
            "writes": self.writes,
        }


class LimitTally:
    """Adds up the holds of one limit on one node as they come, and forgets old ones: a run may have millions.

    They may come a little out of order, as from several processes that report now and then.
    """

    def __init__(self) -> None:
        self._recent: list[Hold] = []
        self._older = LimitFigures(0, 0, 0.0, 0.0, 0.0, (), 0.0, 0)
        self._last: dict[int, Hold] = {}

    def add(self, hold: Hold) -> None:
        """Takes a hold in that has ended."""
        self._recent.append(hold)
        if len(self._recent) < 2 * KEPT_HOLDS:
            return
        self._recent.sort(key=lambda recent: recent.start)
        most = _most_at_once(self._recent)
        older, self._recent = self._recent[:KEPT_HOLDS], self._recent[KEPT_HOLDS:]
        self._older = self._with(older, most, writes=0)
        self._last |= {old.slot: old for old in older}

    def figures(self, writes: int) -> LimitFigures:
        """The figures of all holds so far, and of so many writes."""
        recent = sorted(self._recent, key=lambda hold: hold.start)
        return self._with(recent, _most_at_once(recent), writes)

    def _with(self, holds: Sequence[Hold], most: int, writes: int) -> LimitFigures:
        """The older figures and those of `holds`, which come after them in order of their starts."""
        older, last = self._older, dict(self._last)
        gaps = []
        for hold in holds:
            before = last.get(hold.slot)
            if before is not None and hold.waited and hold.asked < before.end:
                gaps.append(1000 * (hold.start - before.end))
            last[hold.slot] = hold
        return LimitFigures(
            max_holders=max(older.max_holders, most),
            holds=older.holds + len(holds),
            held_seconds=older.held_seconds + sum(hold.end - hold.start for hold in holds),
            busy_seconds=older.busy_seconds + sum(hold.busy for hold in holds),
            wait_seconds=older.wait_seconds + sum(hold.start - hold.asked for hold in holds),
            hand_over_ms=(*older.hand_over_ms, *gaps)[-KEPT_GAPS:],
            hand_over_seconds=older.hand_over_seconds + sum(gaps) / 1000,
            writes=writes,
        )


def _most_at_once(holds: Iterable[Hold]) -> int:
    # An end and a start at the same instant do not overlap: ends sort first.
    moments = sorted([(hold.start, 1) for hold in holds] + [(hold.end, -1) for hold in holds])
    now = most = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most

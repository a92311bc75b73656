"""Records of every hold of a slot: what `imagejob verify` proves mutual exclusion from, and where the figures of a run come from."""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from imagejob_runner.statistics import percentile

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


@dataclass(frozen=True, slots=True)
class LimitFigures:
    """What a run did with one limit.

    Attributes:
        max_holders: Most slots in use at one moment.
        holds: Slots taken.
        held_seconds: Sum over slots of the time held.
        busy_seconds: Sum over slots of the time worked.
        wait_seconds: Sum over holds of the time from asking to holding.
        hand_over_ms: Gaps between one holder's end and the start of the next, where the next was waiting already.
        writes: Lease writes made by the run.
    """

    max_holders: int
    holds: int
    held_seconds: float
    busy_seconds: float
    wait_seconds: float
    hand_over_ms: tuple[float, ...]
    writes: int

    def as_json(self) -> dict[str, object]:
        """The figures as `imagejob run --json` prints them."""
        return {
            "maxHolders": self.max_holders,
            "holds": self.holds,
            "heldSeconds": round(self.held_seconds, 4),
            "busySeconds": round(self.busy_seconds, 4),
            "waitSeconds": round(self.wait_seconds, 4),
            "handOverSeconds": round(sum(self.hand_over_ms) / 1000, 4),
            "handOverMs": {"p50": percentile(self.hand_over_ms, 50), "p99": percentile(self.hand_over_ms, 99)},
            "writes": self.writes,
        }


def limit_figures(holds: Iterable[Hold], writes: int) -> LimitFigures:
    """Figures of one limit on one node from its holds, in any order."""
    holds = sorted(holds, key=lambda hold: hold.start)
    by_slot: dict[int, list[Hold]] = defaultdict(list)
    for hold in holds:
        by_slot[hold.slot].append(hold)
    gaps = [
        1000 * (after.start - before.end)
        for queue in by_slot.values()
        for before, after in itertools.pairwise(queue)
        if after.waited and after.asked < before.end
    ]
    return LimitFigures(
        max_holders=_most_at_once(holds),
        holds=len(holds),
        held_seconds=sum(hold.end - hold.start for hold in holds),
        busy_seconds=sum(hold.busy for hold in holds),
        wait_seconds=sum(hold.start - hold.asked for hold in holds),
        hand_over_ms=tuple(gaps),
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

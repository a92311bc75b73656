"""Adds up what the runner processes report."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace

from imagejob_api.imagejob import Phase
from imagejob_runner.audit import LimitFigures, LimitTally
from imagejob_runner.local.figures import LimitUse, RunProgress
from imagejob_runner.local.messages import Snapshot
from imagejob_runner.output import UNREAD, remaining
from imagejob_runner.pipeline.turn import now
from imagejob_runner.rate import Rate
from imagejob_runner.utilisation import Recent, Times, utilisation


class Tally:
    """Sums over the processes of a run.

    A process is counted under a key of its own, also when a shard is started again after a crash: what the crashed process had done and
    not committed is dropped from the counts, since it is done again.

    Args:
        slots: Slots of each limit on this node.
        begun: When the run was started; now unless given.
    """

    def __init__(self, slots: Mapping[str, int], begun: float | None = None) -> None:
        self._slots = dict(slots)
        self._started = now() if begun is None else begun
        self._latest: dict[str, Snapshot] = {}
        self._live: set[str] = set()
        self._holds: dict[str, LimitTally] = defaultdict(LimitTally)
        self._rate = Rate()
        self._recent = Recent()
        self.total = 0
        self.found: Counter[str] = Counter()
        """Rows of shards that needed no process, by status, as `FoundRows.statuses`."""
        self.restarts = 0

    def started(self, key: str) -> None:
        """A process has been started."""
        self._live.add(key)

    def add(self, key: str, snapshot: Snapshot) -> None:
        """A process has reported."""
        self._latest[key] = replace(snapshot, holds=[])
        for hold in snapshot.holds:
            self._holds[hold.limit].add(hold)

    def ended(self, key: str) -> None:
        """A process has ended, in whatever way."""
        self._live.discard(key)
        if (snapshot := self._latest.get(key)) is not None:
            snapshot.progress.forget_uncommitted()

    @property
    def done(self) -> int:
        """Images that ended in this run."""
        return sum(snapshot.progress.done for snapshot in self._latest.values())

    @property
    def everything_ended(self) -> bool:
        """Whether no image is left to do."""
        return self.done + self.already.total() >= self.total

    @property
    def failed(self) -> int:
        """Images that failed in this run."""
        return sum(snapshot.progress.failed for snapshot in self._latest.values())

    @property
    def errors(self) -> Counter[str]:
        """Failed images of this run by code."""
        return sum((snapshot.progress.errors for snapshot in self._latest.values()), Counter())

    @property
    def examples(self) -> dict[str, str]:
        """Id and message of one of them for each code."""
        return {code: text for snapshot in self._latest.values() for code, text in snapshot.progress.examples.items()}

    @property
    def elapsed_seconds(self) -> float:
        """From the first download to the last save, over all processes."""
        starts = [s.progress.first_start for s in self._latest.values() if s.progress.first_start is not None]
        saves = [s.progress.last_save for s in self._latest.values() if s.progress.last_save is not None]
        return max(saves) - min(starts) if starts and saves else 0.0

    @property
    def wall_seconds(self) -> float:
        """Since the run was started."""
        return now() - self._started

    @property
    def first_start(self) -> float | None:
        """When the first image began, over all processes."""
        return min((s.progress.first_start for s in self._latest.values() if s.progress.first_start is not None), default=None)

    @property
    def last_save(self) -> float | None:
        """When the last rows were committed."""
        return max((s.progress.last_save for s in self._latest.values() if s.progress.last_save is not None), default=None)

    @property
    def times(self) -> Times:
        """What all processes have done. They share the CPUs and the slots of this machine."""
        parts = [snapshot.progress for snapshot in self._latest.values()]
        found = sum((part.times for part in parts), Times())
        first, seen = self.first_start, max((part.seen for part in parts if part.seen is not None), default=None)
        if first is None or seen is None:
            return found
        span = max(0.0, seen - first)
        limits = {step: names for part in parts for step, names in part.stage_limits.items()}
        slots = {step: span * min(self._slots[name] for name in names) for step, names in limits.items()}
        return replace(found, cpu_capacity=min(found.cpu_capacity, found.cpus * span), slots=slots)

    def limits(self) -> dict[str, LimitFigures]:
        """What the run did with each limit."""
        writes: Counter[str] = Counter()
        for snapshot in self._latest.values():
            writes.update(snapshot.writes)
        return {name: self._holds[name].figures(writes[name]) for name in self._slots}

    def progress(self, phase: Phase) -> RunProgress:
        """The run at this moment."""
        parts = [snapshot.progress for snapshot in self._latest.values()]
        stages: dict[str, tuple[int, float]] = {}
        for part in parts:
            for name, images in part.stage_images.items():
                before = stages.get(name, (0, 0.0))
                stages[name] = (before[0] + images, before[1] + part.stage_seconds[name])
        done = self.done
        rate = self._rate.update(done)
        already = self.already.total()
        left = self.total - already - done
        return RunProgress(
            phase=phase,
            total=self.total,
            already=already,
            succeeded=sum(part.succeeded for part in parts),
            failed=sum(part.failed for part in parts),
            skipped=sum(part.skipped for part in parts),
            elapsed_seconds=self.wall_seconds,
            images_per_second=rate,
            eta_seconds=left / rate if rate > 0 else None,
            limits={
                # Processes report at different moments: one may have passed on the slot that the next one tells of already.
                name: LimitUse(slots, min(slots, sum(part.holding[name] for part in parts)), sum(part.waiting[name] for part in parts))
                for name, slots in self._slots.items()
            },
            stages=stages,
            errors=self.errors,
            workers=len(self._live),
            restarts=self.restarts,
            utilisation=utilisation(self._recent.update(self.times)),
        )

    @property
    def already(self) -> Counter[str]:
        """Rows that were in the output before this run, by status; `UNREAD` where it is not known yet."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        committed: dict[str, Counter[str]] = defaultdict(Counter)
        for key, snapshot in self._latest.items():
            shard = key.rpartition("/")[0]
            # A process that follows on one that crashed finds what that one has committed, too.
            before = remaining(snapshot.already, committed[shard])
            found[shard] = max(found[shard], before, key=lambda rows: (rows.total(), -rows[UNREAD]))
            for (status, _), count in snapshot.progress.committed.items():
                committed[shard][status] += count
        return sum(found.values(), self.found.copy())

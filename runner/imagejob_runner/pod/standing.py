"""How far a working pod is: looked at once a second, for the progress report, the log and the metrics."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from imagejob_api.failure import most_failed
from imagejob_api.pod import PodImages, PodProgress, StageReport, UtilisationReport
from imagejob_runner.audit import Hold
from imagejob_runner.output import FoundRows
from imagejob_runner.pipeline.progress import Progress
from imagejob_runner.rate import Rate
from imagejob_runner.shard import ShardRun
from imagejob_runner.utilisation import Recent, Utilisation, utilisation
from nodelease import LeaseClient

WAIT_BOUNDS: Final = (0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 300.0, float("inf"))
"""Upper bounds, in seconds, by which waits for a slot are counted."""
_REASON_CHARACTERS: Final = 512
_WORDS_CHARACTERS: Final = 256
_STEP: Final = 5
"""Percent; what is told of utilisation are multiples of it."""
_TOLERANCE: Final = 3
"""Percent that a share may be away from what was told last before another is told: each is a write to the API server, and of each pod."""


@dataclass(frozen=True, slots=True)
class LimitUse:
    """What the pod has done with a limit.

    Attributes:
        holds: Slots taken and given back.
        held_seconds: Sum of the time held.
        busy_seconds: Sum of the time worked.
        wait_seconds: Sum of the time from asking to holding.
        waits: Holds by the least of `WAIT_BOUNDS` that their wait did not exceed.
        writes: Lease writes.
    """

    holds: int = 0
    held_seconds: float = 0.0
    busy_seconds: float = 0.0
    wait_seconds: float = 0.0
    waits: Mapping[float, int] = field(default_factory=Counter)
    writes: int = 0

    def with_holds(self, holds: Sequence[Hold], writes: int) -> "LimitUse":
        """The same after these holds have ended, and so many writes in all."""
        waits = [hold.start - hold.asked for hold in holds]
        return LimitUse(
            holds=self.holds + len(holds),
            held_seconds=self.held_seconds + sum(hold.end - hold.start for hold in holds),
            busy_seconds=self.busy_seconds + sum(hold.busy for hold in holds),
            wait_seconds=self.wait_seconds + sum(waits),
            waits=Counter(self.waits) + Counter(WAIT_BOUNDS[bisect_left(WAIT_BOUNDS, wait)] for wait in waits),
            writes=writes,
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """A pod at one moment; nothing in it changes, so that any thread may read it.

    Attributes:
        total: Inputs of the pod's shards.
        images: Rows that these have in the output, as far as they are counted; without those that are to be done again.
        rate: Images a second of late.
        waiting, holding: Workers that wait for each limit, and that hold a slot of it.
        reason: What they wait for besides their turn.
        errors: Images that failed under this pod, by code.
        stage_seconds, stage_images: Working time of each step, and images through it.
        batches: Batches of each step by their size.
        limits: Use of each limit.
        utilisation: How busy the stages, the device and the CPUs have been of late, and what limits the pod.
    """

    total: int = 0
    images: PodImages = field(default_factory=PodImages)
    rate: float = 0.0
    waiting: Mapping[str, int] = field(default_factory=dict)
    holding: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""
    errors: Mapping[str, int] = field(default_factory=dict)
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    stage_images: Mapping[str, int] = field(default_factory=dict)
    batches: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    limits: Mapping[str, LimitUse] = field(default_factory=dict)
    utilisation: Utilisation = field(default_factory=Utilisation)

    def report(self) -> PodProgress:
        """What it is in the operator's words."""
        return PodProgress(
            images=self.images,
            rate=float(f"{self.rate:.3g}"),
            holding=sum(self.holding.values()),
            waiting=sum(self.waiting.values()),
            reason=self.reason[:_REASON_CHARACTERS],
            utilisation=_report(self.utilisation),
        )


def _report(found: Utilisation) -> UtilisationReport | None:
    if not found.stages:
        return None
    return UtilisationReport(
        stages=[StageReport(name=name, busy=_percent(use.busy), waiting=_percent(use.waiting)) for name, use in found.stages.items()],
        device=None if found.device is None else _percent(found.device),
        cpus=None if found.cpus is None else _percent(found.cpus),
        bottleneck=found.bottleneck.message[:_WORDS_CHARACTERS] if found.bottleneck is not None else "",
    )


def _percent(share: float) -> int:
    return round(100 * share)


def _steady(found: UtilisationReport, told: UtilisationReport | None) -> UtilisationReport:
    """Shares in coarse steps, those of last time as long as they are about right."""
    before = {stage.name: stage for stage in told.stages} if told is not None else {}

    def stage(now: StageReport) -> StageReport:
        last = before.get(now.name)
        busy = _coarse(now.busy, last.busy if last is not None else None)
        return StageReport(name=now.name, busy=busy, waiting=_coarse(now.waiting, last.waiting if last is not None else None))

    return UtilisationReport(
        stages=[stage(each) for each in found.stages],
        device=None if found.device is None else _coarse(found.device, told.device if told is not None else None),
        cpus=None if found.cpus is None else _coarse(found.cpus, told.cpus if told is not None else None),
        bottleneck=found.bottleneck,
    )


def _coarse(percent: int, told: int | None) -> int:
    return told if told is not None and abs(percent - told) <= _TOLERANCE else _STEP * round(percent / _STEP)


class Observer:
    """Looks at a pod's work.

    Args:
        total: Inputs of the pod's shards.
        limits: Limits that its steps take.
        client: Takes their slots.
    """

    def __init__(self, total: int, limits: Sequence[str], client: LeaseClient | None) -> None:
        self._total, self._client = total, client
        self._rate = Rate()
        self._recent = Recent()
        self._uses = {name: LimitUse() for name in limits}
        self.rows: FoundRows | None = None
        """The rows that were there before, where nothing else is to be done."""
        self.run: ShardRun | None = None
        """The work, once it has begun."""
        self.latest = Standing(total=total)
        """What was seen last."""
        self._told: UtilisationReport | None = None

    def look(self) -> Standing:
        """The pod now; to be called in the event loop of the work, which alone changes what is looked at."""
        progress = self.run.engine.look() if self.run is not None else Progress()
        for name in self._uses:
            self._uses[name] = self._uses[name].with_holds([], self._writes(name))
        for hold in self.run.take_holds() if self.run is not None else []:
            self._uses[hold.limit] = self._uses[hold.limit].with_holds([hold], self._writes(hold.limit))
        self.latest = Standing(
            total=self._total,
            images=self._images(progress),
            rate=self._rate.update(progress.done),
            waiting=dict(+progress.waiting),
            holding=dict(+progress.holding),
            reason=self._reason(),
            errors=progress.errors,
            stage_seconds=dict(progress.stage_seconds),
            stage_images=dict(progress.stage_images),
            batches={name: dict(sizes) for name, sizes in progress.batches.items()},
            limits=dict(self._uses),
            utilisation=utilisation(self._recent.update(progress.times)),
        )
        return self.latest

    def report(self) -> PodProgress:
        """What the operator is told now; to be called as `look` is. Shares that have hardly changed are told as they were."""
        found = self.look().report()
        if found.utilisation is not None:
            self._told = _steady(found.utilisation, self._told)
        return found.model_copy(update={"utilisation": self._told})

    def overall(self) -> Utilisation:
        """How busy everything has been since the first image; to be called as `look` is."""
        return utilisation(self.run.engine.look().times) if self.run is not None else Utilisation()

    def _images(self, progress: Progress) -> PodImages:
        found = self.run.already if self.run is not None else self.rows.statuses if self.rows is not None else Counter[str]()
        rows: Counter[str] = Counter()
        for (status, _), count in progress.committed.items():
            rows[status] += count
        rows += found
        most = most_failed(progress.errors, progress.examples)
        return PodImages(succeeded=rows["ok"], failed=rows["failed"], skipped=rows["skipped"], most_failed=most)

    def _writes(self, limit: str) -> int:
        return self._client.counters(limit).writes if self._client is not None else 0

    def _reason(self) -> str:
        if self._client is None:
            return ""
        return "; ".join(filter(None, (self._client.obstacle(name) for name in self._uses)))

"""What a running engine tells of itself."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from imagejob_api.pipeline import Step
from imagejob_runner.exceptions import ImageError, SkipImage
from imagejob_runner.pipeline.turn import now
from imagejob_runner.rows import Row
from imagejob_runner.utilisation import StageTimes, Times

Outcome = tuple[str, str]
"""How an image ended: the status of its row, and the code of its error or an empty text."""


def outcome_of(error: ImageError | SkipImage | None) -> Outcome:
    """How an image ended that ended with this."""
    if error is None:
        return "ok", ""
    return ("failed", error.code) if isinstance(error, ImageError) else ("skipped", "")


def outcome_of_row(row: Row) -> Outcome:
    """How an image ended that has this row."""
    return row["status"], row["error"]["code"] if row["status"] == "failed" else ""


@dataclass(slots=True)
class Progress:
    """Counts and times of one engine. Times are seconds of CLOCK_BOOTTIME.

    Attributes:
        ended: Images that have ended, by how.
        committed: Those of them whose rows are in the output.
        stage_seconds: Sum of working time by step.
        stage_images: Images through each step.
        batches: Batches of each step that works on them, by their number of images.
        waiting: Workers waiting for each limit.
        holding: Workers holding each limit.
        examples: Id and message of one failed image for each code.
        stage_kinds: Kind of each step, in the order of the pipeline.
        stage_workers: On how many images or batches each step may work at once.
        stage_waits: Sum of the time in which each step's workers have waited for slots, as far as the waits are over.
        waiting_since: When the waits of each step began that are not over.
        stage_limits: Limits of each step that takes any.
        write_seconds: Time in which rows were written.
        cpus: CPUs that the process may use.
        cpu_seconds: CPU time of the process and of those that prepare images for it, since the first image could begin.
        device: Where models run, such as cpu or cuda:0; empty without one.
        seen: When the counts were last looked at.
        first_start: When the first step of the first image began.
        first_batch: When the first batch began to be computed.
        last_batch: When the last batch so far was computed.
        last_save: When the last chunk was committed.
    """

    ended: Counter[Outcome] = field(default_factory=Counter)
    committed: Counter[Outcome] = field(default_factory=Counter)
    stage_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    stage_images: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    batches: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    waiting: Counter[str] = field(default_factory=Counter)
    holding: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    stage_kinds: dict[str, str] = field(default_factory=dict)
    stage_workers: dict[str, int] = field(default_factory=dict)
    stage_waits: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    waiting_since: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    stage_limits: dict[str, tuple[str, ...]] = field(default_factory=dict)
    write_seconds: float = 0.0
    cpus: int = 0
    cpu_seconds: float = 0.0
    device: str = ""
    seen: float | None = None
    first_start: float | None = None
    first_batch: float | None = None
    last_batch: float | None = None
    last_save: float | None = None

    @property
    def done(self) -> int:
        """Images that have ended."""
        return self.ended.total()

    @property
    def succeeded(self) -> int:
        """Images that went through all steps."""
        return self._with_status("ok")

    @property
    def failed(self) -> int:
        """Images that failed."""
        return self._with_status("failed")

    @property
    def skipped(self) -> int:
        """Images that a step chose to leave out."""
        return self._with_status("skipped")

    @property
    def errors(self) -> Counter[str]:
        """Failed images by code."""
        return Counter({code: count for (status, code), count in self.ended.items() if status == "failed"})

    def note_batch(self, step: str, images: int, begun: float, ended: float) -> None:
        """A batch of a step was computed."""
        self.batches[step][images] += 1
        self.first_batch = begun if self.first_batch is None else min(self.first_batch, begun)
        self.last_batch = ended

    @property
    def times(self) -> Times:
        """What the process has done until it was last looked at."""
        if self.first_start is None or self.seen is None:
            return Times()
        wall = max(0.0, self.seen - self.first_start)
        batches = self.last_batch - self.first_batch if self.first_batch is not None and self.last_batch is not None else 0.0
        stages = {
            name: StageTimes(
                kind,
                workers=self.stage_workers[name],
                capacity=self.stage_workers[name] * wall,
                seconds=self.stage_seconds.get(name, 0.0),
                waited=self.stage_waits.get(name, 0.0) + sum(self.seen - since for since in self.waiting_since.get(name, ())),
                images=self.stage_images.get(name, 0),
                computing=self.stage_workers[name] * batches if kind == "infer" else 0.0,
            )
            for name, kind in self.stage_kinds.items()
        }
        return Times(stages, wall, self.write_seconds, self.cpus * wall, self.cpu_seconds, self.cpus, self.device)

    @contextmanager
    def waits(self, step: str) -> Iterator[None]:
        """While inside, a worker of a step waits for slots."""
        since = now()
        self.waiting_since[step].append(since)
        try:
            yield
        finally:
            self.waiting_since[step].remove(since)
            self.stage_waits[step] += now() - since

    def describe(self, step: Step, workers: int) -> None:
        """Tells of a step of the pipeline; in its order."""
        self.stage_kinds[step.name] = step.kind
        self.stage_workers[step.name] = workers
        if step.limits:
            self.stage_limits[step.name] = tuple(limit.name for limit in step.limits)

    def forget_uncommitted(self) -> None:
        """The process has ended: only what is in the output counts, the rest is done again."""
        self.ended = Counter(self.committed)
        self.waiting.clear()
        self.holding.clear()
        self.waiting_since.clear()

    def _with_status(self, wanted: str) -> int:
        return sum(count for (status, _), count in self.ended.items() if status == wanted)

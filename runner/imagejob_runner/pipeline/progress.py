"""What a running engine tells of itself."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from imagejob_runner.exceptions import ImageError, SkipImage
from imagejob_runner.rows import Row

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

    def forget_uncommitted(self) -> None:
        """The process has ended: only what is in the output counts, the rest is done again."""
        self.ended = Counter(self.committed)
        self.waiting.clear()
        self.holding.clear()

    def _with_status(self, wanted: str) -> int:
        return sum(count for (status, _), count in self.ended.items() if status == wanted)

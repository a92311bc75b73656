"""What a running engine tells of itself."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True)
class Progress:
    """Counts and times of one engine. Times are seconds of CLOCK_BOOTTIME.

    Attributes:
        succeeded, failed, skipped: Images by status, committed or not.
        committed: Images whose rows are in the output.
        stage_seconds: Sum of working time by step.
        stage_images: Images through each step.
        waiting: Workers waiting for each limit.
        holding: Workers holding each limit.
        errors: Failed images by code.
        first_start: When the first step of the first image began.
        last_save: When the last chunk was committed.
    """

    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    committed: int = 0
    stage_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    stage_images: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    waiting: Counter[str] = field(default_factory=Counter)
    holding: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    first_start: float | None = None
    last_save: float | None = None

    @property
    def done(self) -> int:
        """Images that have ended."""
        return self.succeeded + self.failed + self.skipped

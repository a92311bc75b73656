"""What `imagejob verify` found, in a form that both people and programs read."""

from dataclasses import dataclass, field
from typing import Final

MAX_PROBLEMS: Final = 1000
"""Problems kept with their words; further ones are only counted."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it must be."""

    file: str
    """Name of the file in the output."""
    line: int | None
    """Line in it, from 1."""
    message: str
    """What is wrong."""
    fix: str
    """What to do."""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{place}: {self.message}; {self.fix}"


@dataclass(slots=True)
class HoldCounts:
    """What the audit records say."""

    records: int = 0
    """Holds of a slot."""
    slots: int = 0
    """Different slots, by node, limit and number."""
    overlaps: int = 0
    """Pairs of holds of one slot that overlap."""


@dataclass(slots=True)
class VerifyReport:
    """Everything that `verify` found."""

    url: str
    """The output."""
    total: int = 0
    """Inputs in the manifest."""
    succeeded: int = 0
    """Inputs with an ok row."""
    failed: int = 0
    """Inputs with a failed row."""
    skipped: int = 0
    """Inputs with a skipped row."""
    problems: list[Problem] = field(default_factory=list)
    """What is wrong, at most `MAX_PROBLEMS`."""
    problem_count: int = 0
    """How much is wrong."""
    holds: HoldCounts = field(default_factory=HoldCounts)
    """What the audit records say."""

    @property
    def ok(self) -> bool:
        """Whether every input has exactly one row and nothing else is wrong."""
        return self.problem_count == 0

    @property
    def counts(self) -> dict[str, int]:
        """Inputs by what became of them."""
        return {"total": self.total, "succeeded": self.succeeded, "failed": self.failed, "skipped": self.skipped}

    def add(self, file: str, line: int | None, message: str, fix: str) -> None:
        """Takes a problem in."""
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(file, line, message, fix))

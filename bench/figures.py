"""What a benchmark hands back: its figures, and the goals that some of them have."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One figure. Without a bound it is there to be read only."""

    name: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def goal(self) -> str:
        """The bounds in words; empty if there is none."""
        bounds = {"at least": self.at_least, "at most": self.at_most}
        return " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)

    @property
    def missed(self) -> bool:
        """Whether it is beyond a bound; what is not a number is."""
        return (self.at_least is not None and not self.value >= self.at_least) or (
            self.at_most is not None and not self.value <= self.at_most
        )

    def __str__(self) -> str:
        shown = f"{self.name:72} {self.value:9.5g} {self.unit:8}"
        return f"{shown} {self.goal}{'  MISSED' if self.missed else ''}".rstrip()


@dataclass(frozen=True)
class Measured:
    """The outcome of one benchmark."""

    figures: Sequence[Figure]
    details: Mapping[str, Any]
    """What the figures were made from, for results.json."""

    def as_json(self) -> dict[str, Any]:
        """The entry of results.json."""
        return {**self.details, "figures": [{**asdict(figure), "missed": figure.missed} for figure in self.figures]}

"""What is wrong with a user's file, said so that it can be put right without reading the documentation.

InvalidFileError    one or more Problems in the files that were given
RuleBrokenError     a rule between fields does not hold; pydantic wraps it
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: what, where and what to do.

    The texts are one line each, except that `message` of a YAML syntax error may show the place in the text.
    """

    file: str
    """The file as the user named it; ``standard input`` for ``-``."""
    message: str
    """What is wrong."""
    fix: str = ""
    """What to do about it; empty where the message says it already."""
    document: str = ""
    """Which document of the file, such as ``document 2, ImageJob team-a/flowers``."""
    path: str = ""
    """The field in the user's spelling, such as ``spec.steps[2].infer.batchSize``."""
    value: str | None = None
    """The value as the user wrote it, shortened; None where there is none."""
    line: int | None = None
    """Line in the file, counted from 1."""

    def __str__(self) -> str:
        """The problem on two or three lines: where, what, fix."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        where = f"{place} ({self.document})" if self.document else place
        message = f"{self.path}: {self.message}" if self.path else self.message
        if self.value is not None:
            message = f"{message}, not {self.value}"
        return "\n".join([where, f"  {message}", *([f"  fix: {self.fix}"] if self.fix else [])])


class RuleBrokenError(ValueError):
    """A rule of a model does not hold.

    Args:
        message: The rule.
        field_path: The field below the model that is at fault, such as ``.steps``, or ``.3`` in a list; empty for the model itself.
    """

    def __init__(self, message: str, field_path: str = "") -> None:
        super().__init__(message)
        self.field_path = field_path


class InvalidFileError(Exception):
    """Files that cannot be used as they are; `problems` has one entry for each mistake, in the order of the files."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        """All problems, ready for a terminal."""
        shown = "\n".join(map(str, self.problems))
        return shown if len(self.problems) == 1 else f"{shown}\n{len(self.problems)} problems"

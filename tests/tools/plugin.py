"""`kubectl imagejob` as it is installed."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PLUGIN: Final = str(Path(sys.executable).with_name("kubectl-imagejob"))


@dataclass(frozen=True, slots=True)
class Done:
    """How it ended."""

    code: int
    out: str
    err: str

    def expect(self, code: int) -> "Done":
        """Fails with what it said if it ended with another code."""
        assert self.code == code, f"exit code {self.code}, not {code}\n{self.out}\n{self.err}"
        return self


Plugin = Callable[..., Done]

"""Help that calls the program what its user calls it: `imagejob`, or `kubectl imagejob` when kubectl started it."""

import re
from collections.abc import Iterable
from typing import Final

import click

from imagejob_cli.cluster.constants import PROGRAM

_COMMANDS: Final = "run|show|verify|validate|lease|submit|status|logs|suspend|resume|cancel|limits"
_CALL: Final = re.compile(rf"(?<!kubectl )(?<![\w./-]){PROGRAM}(?= (?:{_COMMANDS})\b)")


def renamed(text: str, program: str) -> str:
    """The text with the program's name in its examples."""
    return _CALL.sub(program, text)


class NamingContext(click.Context):
    """The context of a command whose help is written for `imagejob`."""

    def make_formatter(self) -> click.HelpFormatter:
        """See click.Context."""
        return _Formatter(self.find_root().info_name or PROGRAM, self.terminal_width, self.max_content_width)


class _Formatter(click.HelpFormatter):
    def __init__(self, program: str, width: int | None, max_width: int | None) -> None:
        super().__init__(width=width, max_width=max_width)
        self._program = program

    def write_text(self, text: str) -> None:
        super().write_text(renamed(text, self._program))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl([(term, renamed(text, self._program)) for term, text in rows], col_max, col_spacing)


def name_in_help(commands: Iterable[click.Command]) -> None:
    """Has these commands, and those below them, call the program in their help what its user calls it."""
    for command in commands:
        command.context_class = NamingContext
        if isinstance(command, click.Group):
            name_in_help(command.commands.values())

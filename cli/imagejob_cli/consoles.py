"""Where text goes: the rich consoles of the command line."""

import sys
from typing import IO

from rich.console import Console

from imagejob_cli.constants import WIDTH_WITHOUT_TERMINAL


def console_on(stream: IO[str]) -> Console:
    """A console that prints text as it is: what users named is never read as markup or as an emoji."""
    width = None if stream.isatty() else WIDTH_WITHOUT_TERMINAL
    return Console(file=stream, width=width, markup=False, emoji=False, highlight=False)


def output_console() -> Console:
    """For what was asked for."""
    return console_on(sys.stdout)


def message_console() -> Console:
    """For what is said along the way."""
    return console_on(sys.stderr)

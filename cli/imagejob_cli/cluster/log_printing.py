"""Lines of logs on standard output, each behind the name of its pod."""

import os
import sys
from collections.abc import Callable
from itertools import cycle
from typing import Final

import click

from imagejob_cli.wording import printable

_COLOURS: Final = ("cyan", "green", "yellow", "magenta", "blue")


def log_printer() -> Callable[[str, str], None]:
    """A function that prints a pod's line.

    On a terminal each pod has a colour, and what could move the cursor is escaped: the lines are whatever somebody's code prints.
    Elsewhere the lines are as they are.
    """
    terminal = sys.stdout.isatty()
    coloured = terminal and not os.environ.get("NO_COLOR")
    colours = cycle(_COLOURS)
    prefixes: dict[str, str] = {}

    def emit(pod: str, line: str) -> None:
        if pod not in prefixes:
            prefixes[pod] = click.style(f"[{pod}]", fg=next(colours)) if coloured else f"[{pod}]"
        shown = "\t".join(map(printable, line.split("\t"))) if terminal else line
        click.echo(f"{prefixes[pod]} {shown}")

    return emit

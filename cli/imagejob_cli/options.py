"""Options and values that several commands take."""

from pathlib import Path
from typing import Literal

import click


def document_path(text: str) -> Path | Literal["-"]:
    """A file, a folder, or `-` for standard input; whether it is there is said together with all other mistakes."""
    return "-" if text == "-" else Path(text)


def duration(text: str) -> float:
    """Seconds of a duration as in the API, such as 30s.

    Raises:
        click.BadParameter: It is none.
    """
    from imagejob_api.base import duration_seconds

    try:
        return duration_seconds(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}, not {text!r}") from None


def whole_seconds(text: str) -> int:
    """Seconds of a duration that is a whole number of them, and at least one.

    Raises:
        click.BadParameter: It is none.
    """
    seconds = duration(text)
    if seconds < 1 or seconds % 1:
        raise click.BadParameter(f"must be whole seconds, and at least one, such as 10s, not {text!r}")
    return int(seconds)


files_option = click.option(
    "-f",
    "--filename",
    "files",
    type=document_path,
    metavar="FILE",
    multiple=True,
    required=True,
    help="A YAML or JSON file, a folder of them, or - for standard input. May be given several times.",
)

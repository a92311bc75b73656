"""Links between pages lead somewhere, and commands are ones that there are."""

import re
import shlex
from pathlib import Path
from typing import Final

import click
import pytest

from imagejob_cli.app import app
from tests.unit.docs.pages import CHECKOUT, DOCS, PAGES, Block, anchor, blocks, headings, links

NAMING: Final = ("crds", "lease", "runner", "operator", "cli", "charts", "examples")
"""Folders whose files name pages."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_links_resolve(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (fragment and fragment not in map(anchor, headings(target))):
            broken.append(link)
    assert not broken


def test_every_page_can_be_found() -> None:
    linked = {(page.parent / link.partition("#")[0]).resolve() for page in PAGES for link in links(page)}
    assert [page.name for page in DOCS.glob("*.md") if page not in linked] == []


def test_pages_that_the_code_names_are_there() -> None:
    files = [file for folder in NAMING for file in (CHECKOUT / folder).rglob("*") if file.suffix in (".py", ".yaml", ".tpl", ".txt")]
    named = {page for file in files for page in re.findall(r"docs/[\w-]+\.md", file.read_text())}
    assert named
    assert [page for page in sorted(named) if not (CHECKOUT / page).exists()] == []


def test_examples_that_commands_name_are_there() -> None:
    notes = (CHECKOUT / "charts/imagejob/templates/NOTES.txt").read_text()
    shown = re.findall(r"-f (examples/\S+)", "".join(block.text for block in blocks("console")))
    noted = re.findall(r" -f (\S+)", notes)
    assert shown
    assert noted
    assert [name for name in (*shown, *noted) if not (CHECKOUT / name).is_file()] == []


@pytest.mark.parametrize("block", blocks("console"), ids=str)
def test_commands_exist(block: Block) -> None:
    for line in block.text.replace("\\\n", " ").splitlines():
        for found in re.findall(r"(?:^\$ |[|&;] )(?:kubectl )?imagejob( [^|&;#]*)", line):
            unknown(found)


def unknown(line: str) -> None:
    """Fails for a command or an option of `imagejob` that there is not."""
    words = shlex.split(line.partition(" -- ")[0])
    command: click.Command = app
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        assert name in command.commands, f"there is no command {name}"
        command = command.commands[name]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help", "-h"}
    assert {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"} <= known, f"options of {line!r}"

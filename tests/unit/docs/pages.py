"""The documentation as the tests read it: pages, headings, tables, blocks of code."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).parents[3]
DOCS: Final = CHECKOUT / "docs"
CHART: Final = CHECKOUT / "charts" / "imagejob"
PAGES: Final = sorted([*DOCS.glob("*.md"), *CHECKOUT.glob("*.md"), CHART / "README.md", *CHECKOUT.glob("tests/*/README.md")])
EXAMPLES: Final = sorted((CHECKOUT / "examples").glob("*.yaml"))

_FENCE: Final = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(CHECKOUT)}:{self.line}"


def blocks(language: str) -> list[Block]:
    """All blocks of a language."""
    return [block for page in PAGES for block in _blocks(page) if block.language == language]


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for fence in _FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, fence.start()) + 1, fence[2], fence[3])


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text())


def headings(page: Path, depth: int | None = None) -> list[str]:
    """The headings of a page, of one depth or all."""
    return [found[2] for found in _HEADING.finditer(prose(page)) if depth in (None, len(found[1]))]


def links(page: Path) -> list[str]:
    """Where the links of a page lead, those to other sites left out."""
    return [link for link in _LINK.findall(prose(page)) if "://" not in link]


def anchor(heading: str) -> str:
    """What GitHub makes of a heading for links."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def table(page: Path, *columns: str) -> list[dict[str, str]]:
    """The rows of all tables of a page with these columns; backticks are taken off."""
    rows: list[dict[str, str]] = []
    inside = False
    for line in prose(page).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if tuple(cells) == columns:
            inside = True
        elif not cells:
            inside = False
        elif inside and not set(line) <= set("|- "):
            rows.append({column: cell.replace("`", "") for column, cell in zip(columns, cells, strict=True)})
    return rows

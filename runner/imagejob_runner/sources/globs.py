"""Glob patterns over paths with ``/``, the same for folders and for object stores.

Written out because the standard library's forms differ by version and none of them takes ``**`` and braces over plain strings.
"""

import fnmatch
import re
from collections.abc import Sequence
from typing import Final

_ANY_DEPTH: Final = None


class Glob:
    """A pattern: ``*`` and ``?`` stay within a folder, a part ``**`` stands for any folders or none, ``[ab]`` and ``{jpg,png}`` choose.

    Letter case counts. A part that starts with a single dot (``.DS_Store``, ``.git``) is hidden: only a part of the pattern that starts
    with a dot matches it, as in a shell.

    Args:
        pattern: The pattern; a leading slash is ignored.
    """

    def __init__(self, pattern: str) -> None:
        self._alternatives = [_compiled(text) for text in _without_braces(pattern.lstrip("/"))]

    def matches(self, path: str) -> bool:
        """Whether the path, relative and with ``/`` between its parts, fits the pattern."""
        *folders, name = path.split("/")
        # Most paths, and all where the pattern is `**/*`, are decided by their last part.
        return any(last.fullmatch(name) is not None and _fits(before, folders) for before, last in self._alternatives)

    @property
    def depth(self) -> int | None:
        """The largest number of parts that a path that fits can have; None without bound."""
        depths = [None if _ANY_DEPTH in before else len(before) + 1 for before, _ in self._alternatives]
        return None if None in depths else max(depth for depth in depths if depth is not None)


def _compiled(text: str) -> tuple[list[re.Pattern[str] | None], re.Pattern[str]]:
    """The parts of a pattern, the last one for itself."""
    parts: list[re.Pattern[str] | None] = []
    for part in text.split("/"):
        if part == "**":
            if not parts or parts[-1] is not _ANY_DEPTH:
                parts.append(_ANY_DEPTH)
        else:
            hidden = "" if part.startswith(".") else r"(?!\.(?!\.))"
            parts.append(re.compile(hidden + fnmatch.translate(part)))
    last = parts[-1]
    return (parts, re.compile(r"(?!\.(?!\.)).+", re.DOTALL)) if last is _ANY_DEPTH else (parts[:-1], last)


def _fits(pattern: Sequence[re.Pattern[str] | None], parts: Sequence[str]) -> bool:
    if len(pattern) == 1 and pattern[0] is _ANY_DEPTH:
        return not any(map(_is_hidden, parts))
    # reached[i]: the pattern so far can have eaten exactly the first i parts.
    reached = [True] + [False] * len(parts)
    for piece in pattern:
        if piece is _ANY_DEPTH:
            for index, part in enumerate(parts):
                reached[index + 1] = reached[index + 1] or (reached[index] and not _is_hidden(part))
        else:
            reached = [False] + [before and piece.fullmatch(part) is not None for before, part in zip(reached[:-1], parts, strict=True)]
    return reached[-1]


def _is_hidden(part: str) -> bool:
    return part.startswith(".") and not part.startswith("..")


def _without_braces(text: str) -> list[str]:
    """The patterns that ``{a,b}`` stands for. Braces that do not close are ordinary characters."""
    match = re.search(r"\{([^{}]*,[^{}]*)\}", text)
    if match is None:
        return [text]
    return [pattern for choice in match[1].split(",") for pattern in _without_braces(text[: match.start()] + choice + text[match.end() :])]

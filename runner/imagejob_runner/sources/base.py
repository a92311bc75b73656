"""One input, as every source gives it."""

from typing import NamedTuple


class Entry(NamedTuple):
    """One input."""

    id: str
    """The user's name of it; any Unicode text, never used as a path."""
    url: str
    """Where the image is."""

"""What each kind of step does with an image. One module a kind, imported only when a pipeline has such a step.

torch and Pillow are slow to load.
"""

from collections.abc import Collection
from importlib import import_module
from typing import Final

MODULES: Final = {
    kind: f"{__name__}.{module}"
    for kind, module in {"download": "download", "transform": "pixels", "infer": "inference", "call": "call", "save": "save"}.items()
}
"""Where the work of each kind of step is. Each is imported only where a pipeline has such a step: torch alone takes seconds."""

PREPARED: Final = frozenset({"download", "transform", "infer"})
"""Kinds of steps whose images processes of their own may prepare, forked from a server that must load what they need."""


def load(kinds: Collection[str]) -> None:
    """Imports what these kinds of steps need; blocks while it does."""
    for kind in sorted(kinds):
        import_module(MODULES[kind])

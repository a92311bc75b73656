"""The project's own images, built for the test cluster: the runner on CPUs, with what the demo needs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.cluster import base_images
from tests.cluster.engine import Engine
from tests.cluster.recipes import Recipe, ensure_image

NAMES: Final = ("runner", "operator")
"""The targets of the Dockerfile."""

_CHECKOUT: Final = Path(__file__).parents[2]
_NOT_IN: Final = {"runner": ("operator/",), "operator": ("runner/", "cli/")}
"""Packages without which an image is made, so that a change in them does not make it anew."""


def ensure(engine: Engine, name: str) -> str:
    """The full name of one of the project's images, built if the engine does not have it as the checkout is now.

    Args:
        engine: Where the image is to be.
        name: One of `NAMES`.
    """
    arguments = {"OPERATOR_BASE": base_images.python(engine)}
    if name == "runner":
        arguments |= {"RUNNER_BASE": base_images.torch(engine), "EXTRAS": "demo"}
    files = {path: file for path, file in sources(_CHECKOUT).items() if not path.startswith(_NOT_IN[name])}
    return ensure_image(engine, Recipe(name, _CHECKOUT / "Dockerfile", name, arguments, files))


def sources(checkout: Path) -> Mapping[str, Path]:
    """The files that .dockerignore, which names what the images are made of, lets through."""
    lines = (checkout / ".dockerignore").read_text().splitlines()
    allowed = [checkout / line[1:] for line in lines if line.startswith("!")]
    files = [file for path in allowed for file in ([path] if path.is_file() else path.rglob("*"))]
    return {str(file.relative_to(checkout)): file for file in files if file.is_file() and "__pycache__" not in file.parts}

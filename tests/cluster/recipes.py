"""Images named by what they are made from, so that one that exists need not be built again, and a name always means the same content.

The name of an image is ``imagejob.test/NAME:DIGEST``, where the digest covers the Dockerfile, its target, its arguments (the base image
among them) and every file that it is given. No registry has that name: nothing can be pulled by mistake.
"""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.cluster.engine import Engine

_LOG = logging.getLogger(__name__)

REPOSITORY: Final = "imagejob.test"
_DIGEST_LENGTH: Final = 12
_PROXIES: Final = ("http_proxy", "https_proxy", "no_proxy")
"""Arguments that every Dockerfile knows, and that leave no trace in the image."""


@dataclass(frozen=True)
class Recipe:
    """What an image is made from."""

    name: str
    """What it is called, within our repository."""
    dockerfile: Path
    target: str
    """Stage of the Dockerfile."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path | bytes] = field(default_factory=dict)
    """What the Dockerfile may copy: path in the build's context → a file, or content."""

    @property
    def image(self) -> str:
        """The image's full name."""
        digest = hashlib.sha256(repr((self.target, sorted(self.arguments.items()))).encode())
        digest.update(self.dockerfile.read_bytes())
        for path, source in sorted(self.files.items()):
            executable = isinstance(source, Path) and os.access(source, os.X_OK)
            digest.update(repr((path, executable, _sha256(source))).encode())
        return image_name(self.name, digest.hexdigest())


def image_name(name: str, digest: str) -> str:
    """The name of an image of ours, by the hexadecimal digest of what it is made from."""
    return f"{REPOSITORY}/{name}:{digest[:_DIGEST_LENGTH]}"


def ensure_image(engine: Engine, recipe: Recipe, *, prepare: Callable[[Path], None] | None = None) -> str:
    """The name of a recipe's image, built if the engine does not have it.

    Args:
        engine: Where the image is to be.
        recipe: What it is made from.
        prepare: Adds files to the build's context that follow from the recipe, and so need not be part of its digest.

    Raises:
        CommandError: It cannot be built; carries the end of what the build said.
    """
    image = recipe.image
    if engine.has_image(image):
        return image
    _LOG.info("building the image %s", image)
    with tempfile.TemporaryDirectory(prefix="imagejob-image-") as folder:
        context = Path(folder)
        for path, source in recipe.files.items():
            place = context / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(source, bytes):
                place.write_bytes(source)
            else:
                shutil.copy2(source, place)
        if prepare is not None:
            prepare(context)
        arguments = [part for name in _PROXIES if name in os.environ for part in ("--build-arg", name)]
        arguments += [part for name, value in recipe.arguments.items() for part in ("--build-arg", f"{name}={value}")]
        what = [f"--target={recipe.target}", f"--tag={image}", f"--file={recipe.dockerfile}", str(context)]
        # The host's network: from it the package registries are reached, whatever proxies and names that takes.
        engine.docker("build", "--quiet", "--force-rm", "--network=host", *arguments, *what)
    return image


def _sha256(source: Path | bytes) -> str:
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Exported programs: a network as a graph of torch's own operators, in one ``.pt2`` file."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch.export.passes import move_to_device_pass

from imagejob_runner.exceptions import ModelError
from imagejob_runner.models.device import is_device_error
from imagejob_runner.models.scan import scanned_program

_FORCE: Final = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_IMAGE_DIMENSIONS: Final = 4


@dataclass(frozen=True, slots=True)
class Program:
    """A loaded program and what it fixes."""

    network: torch.nn.Module
    """The graph as a module, on its device."""
    batch_range: tuple[int, int | None]
    """Smallest and largest batch it takes; the second is None when there is no bound."""


def load_program(path: Path, device: torch.device, size: int) -> Program:
    """Scans and loads a program.

    Args:
        path: The ``.pt2`` file.
        device: Where it shall run.
        size: Side of the square images that it will be given, in pixels.

    Raises:
        ModelError: The scan refuses it, it cannot be loaded, or it takes something other than batches of such images.
        StorageError: There is no room for a copy of it.
        Exception: What `is_device_error` tells apart.
    """
    with scanned_program(path) as file:
        try:
            with _weights_only():
                exported = move_to_device_pass(torch.export.load(file), device)
                network = exported.module()
        except Exception as error:
            if is_device_error(error):
                raise
            raise ModelError(f"model.program: {path.name} cannot be loaded with torch {torch.__version__}: {error}") from error
    return Program(network, _batch_range(exported, path.name, size))


def _batch_range(exported: torch.export.ExportedProgram, name: str, size: int) -> tuple[int, int | None]:
    inputs = exported.graph_signature.user_inputs
    shapes = [node.meta["val"].shape for node in exported.graph.nodes if node.op == "placeholder" and node.name in inputs]
    if len(shapes) != 1 or len(shapes[0]) != _IMAGE_DIMENSIONS:
        raise ModelError(
            f"model.program: {name} must take one tensor of shape (batch, 3, height, width), not {[tuple(shape) for shape in shapes]}"
        )
    batch, *image = shapes[0]
    if any(isinstance(have, int) and have != want for have, want in zip(image, (3, size, size), strict=True)):
        raise ModelError(f"model.program: {name} takes images of shape {tuple(image)}, not (3, {size}, {size}); set preprocess.size to fit")
    if isinstance(batch, int):
        return batch, batch
    bounds = exported.range_constraints.get(batch.node.expr)
    if bounds is None:
        return 1, None
    return max(1, int(bounds.lower)), int(bounds.upper) if bounds.upper.is_Integer else None


@contextmanager
def _weights_only() -> Iterator[None]:
    """Makes every `torch.load` inside refuse code, even one that asks for it."""
    before = os.environ.get(_FORCE)
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FORCE]
        else:
            os.environ[_FORCE] = before

"""Exported programs, and ways to change what is in them."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import torch

from tests.tools.networks import Tiny

Json: TypeAlias = dict[str, Any]


def export_tiny(path: Path) -> Path:
    """A small network that takes batches of 1 to 64."""
    batch = torch.export.Dim("batch", min=1, max=64)
    torch.export.save(torch.export.export(Tiny().eval(), (torch.zeros(2, 3, 16, 16),), dynamic_shapes={"images": {0: batch}}), path)
    return path


def rewritten(
    sound: Path,
    path: Path,
    *,
    entries: dict[str, bytes] | None = None,
    graph: Callable[[Json], object] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """`sound` with entries added or replaced, and its graph changed."""
    with zipfile.ZipFile(sound) as archive:
        content = {info.filename: archive.read(info) for info in archive.infolist()}
    root = next(iter(content)).partition("/")[0]
    if graph is not None:
        model = json.loads(content[f"{root}/models/model.json"])
        graph(model)
        content[f"{root}/models/model.json"] = json.dumps(model).encode()
    content.update({name if name.startswith(("/", "..")) else f"{root}/{name}": data for name, data in (entries or {}).items()})
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path

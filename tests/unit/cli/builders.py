"""What the tests of the command line are written with."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from click.testing import Result

VERSION = "imagejob.dev/v1alpha1"

Imagejob = Callable[..., Result]
"""Runs `imagejob` with these arguments."""
Document = dict[str, Any]
Write = Callable[..., Path]
"""Writes documents into one file."""


def document(kind: str, name: str, spec: Mapping[str, Any]) -> Document:
    """An object of the API."""
    return {"apiVersion": VERSION, "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}


def job(name: str = "flowers", *, limit: str | None = None, **spec: Any) -> Document:  # noqa: ANN401  fields of the job
    """An ImageJob with a pipeline of one `call` step."""
    step: dict[str, Any] = {"name": "classify", "call": {"function": "models:classify"}}
    if limit is not None:
        step["limits"] = [{"name": limit}]
    return document(
        "ImageJob", name, {"pipeline": {"steps": [step]}, "source": {"urls": [{"url": "/a.jpg"}]}, "output": {"url": "/out"}, **spec}
    )


def limit(name: str = "gpu", **spec: Any) -> Document:  # noqa: ANN401  fields of the limit
    """A NodeLimit."""
    return document("NodeLimit", name, spec or {"slots": 1})

"""What kind of value each step's output is, which follows from the pipeline: so the parts of a job, typed, have one schema."""

from collections.abc import Mapping
from enum import StrEnum

from imagejob_api.pipeline import ImagePipelineSpec, Step


class OutputKind(StrEnum):
    """A form that an output has in every row."""

    CLASSES = "classes"
    """``[{"label", "index", "score"}]``, best first."""
    EMBEDDING = "embedding"
    """A list of numbers."""
    TENSOR = "tensor"
    """``{"shape", "dtype", "data"}``, `data` as nested lists."""
    IMAGE = "image"
    """``{"image", "sha256", "bytes"}``: a derived image."""
    JSON = "json"
    """Whatever a function returns."""


OutputKinds = Mapping[str, OutputKind]
"""By step, in the order of the steps; a step without outputs is left out."""


def output_kinds(pipeline: ImagePipelineSpec) -> dict[str, OutputKind]:
    """The kinds of a pipeline's outputs."""
    found = {step.name: _kind(step) for step in pipeline.steps}
    return {name: kind for name, kind in found.items() if kind is not None}


def _kind(step: Step) -> OutputKind | None:
    if step.infer is not None:
        outputs = step.infer.outputs
        if outputs.top_k is not None:
            return OutputKind.CLASSES
        return OutputKind.EMBEDDING if outputs.embedding is not None else OutputKind.TENSOR
    if step.call is not None:
        return OutputKind.JSON
    return OutputKind.IMAGE if step.save is not None and step.save.image is not None else None

"""Every example, and every YAML block of the documentation, is what `imagejob validate`, an API server or the chart takes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml
from pydantic import BaseModel
from pydantic.alias_generators import to_snake

from imagejob_api.documents import load_documents
from imagejob_api.imagejob import ImageJobSpec
from imagejob_api.pipeline import ImagePipelineSpec, Step
from tests.unit.docs.pages import CHART, EXAMPLES, Block, blocks

FOREIGN: Final = {"version", "sharing"}
"""Keys of the configuration of NVIDIA's device plugin, which is no object of Kubernetes."""

STEP: Final[dict[str, Any]] = {"name": "some", "call": {"function": "module:function"}}
SPEC: Final[dict[str, Any]] = {
    "source": {"urls": [{"url": "https://example.com/a.jpg"}]},
    "pipeline": {"steps": [STEP]},
    "output": {"url": "s3://bucket/results/"},
}


def pipeline(spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "imagejob.dev/v1alpha1", "kind": "ImagePipeline", "metadata": {"name": "some"}, "spec": spec}


def job(spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "imagejob.dev/v1alpha1", "kind": "ImageJob", "metadata": {"name": "some"}, "spec": SPEC | spec}


def step(fields: dict[str, Any]) -> dict[str, Any]:
    return pipeline({"steps": [STEP | fields]})


WHOLE: Final[tuple[tuple[type[BaseModel], Callable[[dict[str, Any]], dict[str, Any]]], ...]] = (
    (ImageJobSpec, job),
    (ImagePipelineSpec, pipeline),
    (Step, step),
)
"""What a block may be a part of, and the whole around it."""


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """An object from a block that shows some fields of one."""
    if "apiVersion" in document:
        return document
    fields = {to_snake(key) for key in document}
    whole = next((whole for model, whole in WHOLE if fields <= model.model_fields.keys()), None)
    assert whole is not None, f"{', '.join(document)}: no fields of a job, a pipeline or a step"
    return whole(document)


def check(files: list[Path]) -> None:
    documents = load_documents(files)
    documents.pipelines |= load_documents(EXAMPLES).pipelines
    for found in documents.jobs:
        documents.resolve(found)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_valid(path: Path) -> None:
    check([path])


def test_examples_are_of_one_piece() -> None:
    check(EXAMPLES)


@pytest.mark.parametrize("block", [block for block in blocks("yaml") if block.page.parent == CHART], ids=str)
def test_values_of_the_chart_are_valid(block: Block) -> None:
    jsonschema.validate(yaml.safe_load(block.text), json.loads((CHART / "values.schema.json").read_text()))


@pytest.mark.parametrize("block", [block for block in blocks("yaml") if block.page.parent != CHART], ids=str)
def test_blocks_are_valid(block: Block, tmp_path: Path) -> None:
    documents = [document for document in yaml.safe_load_all(block.text) if not document.keys() <= FOREIGN]
    if documents:
        file = tmp_path / "block.yaml"
        file.write_text(yaml.safe_dump_all(map(completed, documents), sort_keys=False))
        check([file])


def test_a_wrong_block_is_found(tmp_path: Path) -> None:
    file = tmp_path / "block.yaml"
    file.write_text(yaml.safe_dump(completed({"gpu": {"sharing": "claim"}})))
    with pytest.raises(Exception, match="claimName"):
        check([file])

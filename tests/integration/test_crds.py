"""The kinds as users meet them on a real API server: accepted, explained, defaulted and printed."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from imagejob_api.documents import KINDS

from tests.cluster.control_plane import ControlPlane
from tests.unit.api.objects import VALID, Json, image_job

pytestmark = pytest.mark.integration

CHECKOUT = Path(__file__).parents[2]
CRDS = [yaml.safe_load(path.read_text()) for path in sorted((CHECKOUT / "crds").glob("*.yaml"))]
RESOURCES = {"ImageJob": "imagejobs", "ImagePipeline": "imagepipelines", "NodeLimit": "nodelimits"}


def apply(cluster: ControlPlane, namespace: str, *objects: Json, dry_run: bool = False) -> list[Json]:
    """The objects as the API server has them after `kubectl apply`."""
    text = yaml.safe_dump_all(objects)
    flags = ["--dry-run=server"] if dry_run else []
    answer: Json = json.loads(cluster.kubectl("apply", "-n", namespace, "-f", "-", "-o", "json", *flags, stdin=text))
    return list(answer["items"]) if answer["kind"] == "List" else [answer]


@pytest.mark.parametrize("crd", CRDS, ids=lambda crd: crd["spec"]["names"]["plural"])
def test_the_api_server_accepts_it(cluster: ControlPlane, crd: Json) -> None:
    """No condition complains: NonStructuralSchema is there only if it is violated, and terms in doubt have one of their own."""
    found = json.loads(cluster.kubectl("get", "crd", crd["metadata"]["name"], "-o", "json"))
    conditions = {condition["type"]: condition["status"] for condition in found["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


def test_applying_the_crds_again_changes_nothing(cluster: ControlPlane) -> None:
    assert set(cluster.kubectl("apply", "-f", str(CHECKOUT / "crds")).splitlines()) == {
        f"customresourcedefinition.apiextensions.k8s.io/{crd['metadata']['name']} unchanged" for crd in CRDS
    }


@pytest.mark.parametrize("name", VALID)
def test_a_valid_object_is_taken_and_reads_back_as_the_model_says(cluster: ControlPlane, name: str) -> None:
    """The API server puts in the defaults that the models have: both hold the same object, field by field."""
    (served,) = apply(cluster, "default", VALID[name], dry_run=True)
    model = KINDS[served["kind"]]
    expected = model.model_validate_json(json.dumps(VALID[name]), strict=True, by_alias=True, by_name=False)
    loaded = model.model_validate_json(json.dumps(served), strict=True, by_alias=True, by_name=False)
    assert loaded.spec == expected.spec
    assert written(served["spec"]) == written(expected.spec.model_dump(mode="json", by_alias=True))


def written(value: object) -> object:
    """The value without null and without empty lists and mappings, which are the defaults that nobody writes down."""
    if isinstance(value, dict):
        kept = {key: written(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, [], {})}
    return [written(item) for item in value] if isinstance(value, list) else value


def test_the_example_can_be_applied(cluster: ControlPlane, namespace: str) -> None:
    said = cluster.kubectl("apply", "-n", namespace, "-f", str(CHECKOUT / "examples" / "imagejob.yaml"))
    assert said.splitlines() == [
        "imagepipeline.imagejob.dev/efficientnet-lite0 created",
        "nodelimit.imagejob.dev/gpu created",
        "imagejob.imagejob.dev/demo created",
    ]


def test_explain_reads_well(cluster: ControlPlane) -> None:
    text = cluster.kubectl("explain", "imagejob.spec")
    print(text)
    assert "What to run" in text

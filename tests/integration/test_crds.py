"""The kinds as users meet them on a real API server: accepted, explained, defaulted and printed."""

import json
from pathlib import Path

import pytest
import yaml

from imagejob_api.constants import CATEGORY
from imagejob_api.documents import KINDS
from imagejob_api.imagejob import ImageJob, ImagePipeline
from imagejob_api.nodelimit import NodeLimit
from tests.cluster.control_plane import ControlPlane
from tests.unit.api.objects import VALID, Json, image_job, image_pipeline, node_limit

pytestmark = pytest.mark.integration

CHECKOUT = Path(__file__).parents[2]
CRDS = [yaml.safe_load(path.read_text()) for path in sorted((CHECKOUT / "crds").glob("*.yaml"))]

STATUS: Json = {
    "observedGeneration": 1,
    "phase": "Running",
    "progress": "812/1000",
    "images": {"total": 1000, "succeeded": 805, "failed": 7},
    "imagesPerSecond": "97.3",
    "waitingForLimit": 3,
    "pods": {"active": 4, "ready": 4},
    "eta": "2026-05-04T10:00:00Z",
    "conditions": [
        {
            "type": "Finished",
            "status": "False",
            "reason": "Working",
            "lastTransitionTime": "2026-05-04T09:00:00Z",
            "observedGeneration": 1,
        }
    ],
}


def get(cluster: ControlPlane, *arguments: str) -> Json:
    found: Json = json.loads(cluster.kubectl("get", "-o", "json", *arguments))
    return found


def patch_status(cluster: ControlPlane, namespace: str, name: str, status: Json) -> None:
    patch = json.dumps({"status": status})
    cluster.kubectl("patch", "-n", namespace, f"imagejob/{name}", "--subresource=status", "--type=merge", "-p", patch)


def table(text: str) -> list[list[str]]:
    """The cells of a table whose cells hold no spaces."""
    return [line.split() for line in text.splitlines()]


@pytest.mark.parametrize("crd", CRDS, ids=lambda crd: crd["spec"]["names"]["plural"])
def test_the_api_server_accepts_it(cluster: ControlPlane, crd: Json) -> None:
    """A schema that is not structural, or a name in use, would show in a condition."""
    found = get(cluster, "crd", crd["metadata"]["name"])
    conditions = {condition["type"]: condition["status"] for condition in found["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


def test_applying_the_crds_again_changes_nothing(cluster: ControlPlane) -> None:
    assert set(cluster.kubectl("apply", "-f", str(CHECKOUT / "crds")).splitlines()) == {
        f"customresourcedefinition.apiextensions.k8s.io/{crd['metadata']['name']} unchanged" for crd in CRDS
    }


@pytest.mark.usefixtures("no_limits")
@pytest.mark.parametrize("name", VALID)
def test_a_valid_object_reads_back_as_the_model_says(cluster: ControlPlane, name: str) -> None:
    """The API server puts in the defaults that the models have: field by field, both hold the same object."""
    given = json.dumps(VALID[name])
    served = json.loads(cluster.kubectl("apply", "--dry-run=server", "-o", "json", "-f", "-", stdin=given))
    model = KINDS[served["kind"]]
    expected = model.model_validate_json(given, strict=True, by_alias=True, by_name=False)
    loaded = model.model_validate_json(json.dumps(served), strict=True, by_alias=True, by_name=False)
    assert written(served["spec"]) == dumped(expected)
    assert dumped(loaded) == dumped(expected)


def dumped(value: ImageJob | ImagePipeline | NodeLimit) -> object:
    return written(value.spec.model_dump(mode="json", by_alias=True))


def written(value: object) -> object:
    """The value without null, which `kubectl apply` takes out, and without empty lists and mappings, which no schema has as defaults."""
    if isinstance(value, dict):
        kept = {key: written(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, [], {})}
    return [written(item) for item in value] if isinstance(value, list) else value


def test_the_example_can_be_applied(cluster: ControlPlane, namespace: str) -> None:
    example = str(CHECKOUT / "examples" / "imagejob.yaml")
    said = cluster.kubectl("apply", "-n", namespace, "-f", example)
    assert said.splitlines() == [
        "imagepipeline.imagejob.dev/efficientnet-lite0 created",
        "nodelimit.imagejob.dev/gpu created",
        "imagejob.imagejob.dev/demo created",
    ]
    names = ("imagepipeline/efficientnet-lite0", "nodelimit/gpu", "imagejob/demo")
    before = [get(cluster, "-n", namespace, name) for name in names]
    cluster.kubectl("apply", "-n", namespace, "-f", example)
    assert [get(cluster, "-n", namespace, name) for name in names] == before, "applying it again changes nothing"


def test_explain_reads_well(cluster: ControlPlane) -> None:
    text = cluster.kubectl("explain", "imagejob.spec")
    words = " ".join(text.split())
    (crd,) = (crd for crd in CRDS if crd["spec"]["names"]["kind"] == "ImageJob")
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert f"DESCRIPTION: {spec['description']} FIELDS:" in words
    for name, field in spec["properties"].items():
        required = " -required-" if name in spec["required"] else ""
        kind = "Object" if field["type"] == "object" else field["type"]
        assert f" {name} <{kind}>{required} {field['description']} " in f"{words} "


@pytest.mark.parametrize("path", ["imagejob.status", "imagejob.spec.pipeline.steps", "ipl.spec.steps.infer.model", "nl.spec"])
def test_explain_describes_every_field(cluster: ControlPlane, path: str) -> None:
    text = cluster.kubectl("explain", path)
    assert "<no description>" not in text
    assert "FIELDS:" in text


def test_columns(cluster: ControlPlane, namespace: str) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(image_job()))
    patch_status(cluster, namespace, "flowers", STATUS)
    header, (*cells, _age) = table(cluster.kubectl("get", "-n", namespace, "imagejobs"))
    assert header == ["NAME", "PHASE", "PROGRESS", "FAILED", "RATE", "WAITING", "AGE"]
    assert cells == ["flowers", "Running", "812/1000", "7", "97.3", "3"]


def test_wide_columns(cluster: ControlPlane, namespace: str) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(image_job()))
    patch_status(cluster, namespace, "flowers", STATUS | {"reason": "ImagePullFailed"})
    header, cells = table(cluster.kubectl("get", "-n", namespace, "imagejobs", "-o", "wide"))
    shown = dict(zip(header, cells, strict=True))
    assert {name: shown[name] for name in ("PIPELINE", "PODS", "ETA", "REASON", "OUTPUT")} == {
        "PIPELINE": "classify",
        "PODS": "4",
        "ETA": "2026-05-04T10:00:00Z",
        "REASON": "ImagePullFailed",
        "OUTPUT": "s3://results/flowers",
    }


@pytest.mark.parametrize("name", ["imagejobs", "imagejob", "ij", "imagejobs.imagejob.dev"])
def test_each_name_of_a_kind_finds_one_object(cluster: ControlPlane, namespace: str, name: str) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(image_job()))
    assert get(cluster, "-n", namespace, name, "flowers")["metadata"]["name"] == "flowers"


def test_the_category_holds_all_kinds(cluster: ControlPlane, namespace: str) -> None:
    for each in (image_job(), image_pipeline(), node_limit("licence")):
        cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(each))
    found = {item["kind"] for item in get(cluster, "-n", namespace, CATEGORY)["items"]}
    assert found == set(KINDS)


@pytest.mark.parametrize("value", [image_job(), node_limit("seats")], ids=lambda value: value["kind"])
def test_a_new_object_is_not_taken_for_done(cluster: ControlPlane, namespace: str, value: Json) -> None:
    """kstatus takes an object for current whose generation is observed; of a new one nothing is."""
    name = f"{value['kind'].lower()}/{value['metadata']['name']}"
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(value))
    created = get(cluster, "-n", namespace, name)
    assert created["status"] == {"observedGeneration": -1}
    assert created["metadata"]["generation"] == 1


def test_status_and_spec_are_written_apart(cluster: ControlPlane, namespace: str) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(image_job()))
    patch_status(cluster, namespace, "flowers", STATUS)
    cluster.kubectl("patch", "-n", namespace, "imagejob/flowers", "--type=merge", "-p", json.dumps({"status": {"phase": "Failed"}}))
    after = get(cluster, "-n", namespace, "imagejob/flowers")
    assert after["status"]["phase"] == "Running"
    assert after["metadata"]["generation"] == 1
    cluster.kubectl("patch", "-n", namespace, "imagejob/flowers", "--type=merge", "-p", json.dumps({"spec": {"suspend": True}}))
    assert get(cluster, "-n", namespace, "imagejob/flowers")["metadata"]["generation"] == 2


def test_one_condition_can_be_waited_for(cluster: ControlPlane, namespace: str) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(image_job()))
    finished = {**STATUS["conditions"][0], "status": "True", "reason": "Succeeded"}
    patch_status(cluster, namespace, "flowers", {**STATUS, "conditions": [finished]})
    assert cluster.kubectl("wait", "-n", namespace, "imagejob/flowers", "--for=condition=Finished", "--timeout=60s") == (
        "imagejob.imagejob.dev/flowers condition met\n"
    )


def test_the_model_reads_a_status_from_the_server(cluster: ControlPlane, namespace: str) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(image_job()))
    patch_status(cluster, namespace, "flowers", STATUS)
    loaded = ImageJob.model_validate_json(json.dumps(get(cluster, "-n", namespace, "imagejob/flowers")), strict=True)
    assert loaded.status is not None
    assert written(loaded.status.model_dump(mode="json", by_alias=True, exclude_unset=True)) == STATUS

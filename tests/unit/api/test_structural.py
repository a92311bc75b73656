"""The generated CRDs: structural, complete, up to date, and of one mind with the models."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from imagejob_api import crdgen
from imagejob_api.base import ApiModel
from imagejob_api.documents import KINDS
from imagejob_api.schema import one_line, structural_schema
from imagejob_api.yamlfile import read_documents
from tests.unit.api.objects import BROKEN, CHANGES, VALID, Broken, Change, Json, image_job, image_pipeline, infer, node_limit, step

CRDS = {each.kind: yaml.safe_load(crdgen.definition_yaml(each)) for each in crdgen.DEFINITIONS}
EXAMPLES = sorted(path for folder in ("examples", "bench") for path in (crdgen.CHECKOUT / folder).glob("*.yaml"))
SCALARS = {"string", "integer", "number", "boolean"}
WITHOUT_COUNTERPART = {"$ref", "$defs", "const", "title", "oneOf", "allOf", "not", "nullable", "examples"}


def schema_of(kind: str) -> Json:
    (version,) = CRDS[kind]["spec"]["versions"]
    found: Json = version["schema"]["openAPIV3Schema"]
    return found


def nodes(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


def structural_faults(schema: Json) -> list[str]:
    """What an API server would refuse in a schema, by the rules of "Specifying a structural schema" and of list maps."""
    return [
        f"{path}: {fault}" for path, node in nodes(schema) for fault in (*type_faults(path, node), *keyword_faults(node), *key_faults(node))
    ]


def type_faults(path: str, node: Json) -> Iterator[str]:
    if node.get("x-kubernetes-int-or-string"):
        if "type" in node or node.get("anyOf") != [{"type": "integer"}, {"type": "string"}]:
            yield "int-or-string has no type and exactly this anyOf"
        return
    if "anyOf" in node:
        yield "anyOf"
    if node.get("x-kubernetes-preserve-unknown-fields"):
        return
    if "type" not in node:
        yield "no type"
    if node.get("type") == "array" and "items" not in node:
        yield "no items"
    if node.get("type") == "object" and path != ".metadata" and len({"properties", "additionalProperties"} & set(node)) != 1:
        yield "an object has either properties or additionalProperties"


def keyword_faults(node: Json) -> Iterator[str]:
    yield from WITHOUT_COUNTERPART & set(node)
    if "default" in node and node["default"] is None:
        yield "null as default"
    for bound in ("exclusiveMinimum", "exclusiveMaximum"):
        if node.get(bound, True) is not True:
            yield f"{bound} must be true beside a bound"
    for name in set(node.get("required", ())) - set(node.get("properties", ())):
        yield f"{name} is required and unknown"


def key_faults(node: Json) -> Iterator[str]:
    for key in node.get("x-kubernetes-list-map-keys", ()):
        items = node["items"]
        if key not in items.get("required", ()) and "default" not in items["properties"][key]:
            yield f"key {key} is neither required nor defaulted"
        if items["properties"][key]["type"] not in SCALARS:
            yield f"key {key} is no scalar"


@pytest.mark.parametrize("kind", CRDS)
def test_the_schema_is_structural(kind: str) -> None:
    assert structural_faults(schema_of(kind)) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"type": "string", "anyOf": [{"type": "string"}, {"type": "null"}]}, ".a: anyOf"),
        ({"description": "no type"}, ".a: no type"),
        ({"type": "string", "const": "x"}, ".a: const"),
        ({"type": "string", "default": None}, ".a: null as default"),
        ({"type": "number", "exclusiveMinimum": 0}, ".a: exclusiveMinimum must be true beside a bound"),
        ({"type": "array"}, ".a: no items"),
        (
            {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}}},
            },
            ".a: key k is neither required nor defaulted",
        ),
    ],
)
def test_the_check_finds_what_an_api_server_refuses(change: Json, fault: str) -> None:
    assert fault in structural_faults({"type": "object", "properties": {"a": change}})


@pytest.mark.parametrize("kind", CRDS)
def test_every_field_is_described(kind: str) -> None:
    silent = [path for path, node in nodes(schema_of(kind)) if path.rpartition(".")[2].isalnum() and not node.get("description")]
    assert silent == [".metadata"]  # the API server describes that one


@pytest.mark.parametrize("kind", CRDS)
def test_descriptions_are_plain_text_on_one_line(kind: str) -> None:
    words = [node["description"] for _, node in nodes(schema_of(kind)) if "description" in node]
    assert not [text for text in words if "\n" in text or "``" in text or "  " in text]


def test_every_default_is_valid_where_it_stands() -> None:
    for kind in CRDS:
        for path, node in nodes(schema_of(kind)):
            if "default" in node:
                assert not list(strict(node).iter_errors(node["default"])), path


@pytest.mark.parametrize("kind", CRDS)
def test_what_a_rule_looks_at_is_bounded(kind: str) -> None:
    """Lists and texts in `spec` that a rule reads have bounds, or an API server finds the rule too expensive."""
    unbounded = []
    for path, node in nodes(schema_of(kind)["properties"]["spec"]):
        for inner, child in nodes(node):
            if inner and "x-kubernetes-validations" in child and node.get("type") == "array" and "maxItems" not in node:
                unbounded.append(path)
        if "x-kubernetes-validations" in node and node.get("type") == "string" and "maxLength" not in node:
            unbounded.append(path)
    assert unbounded == []


def test_rules_are_on_one_line_and_say_something() -> None:
    for kind in CRDS:
        for path, node in nodes(schema_of(kind)):
            for rule in node.get("x-kubernetes-validations", ()):
                assert rule["message"], path
                assert "\n" not in rule["rule"] + rule["message"], path


def test_new_objects_are_not_taken_for_done() -> None:
    for kind in ("ImageJob", "NodeLimit"):
        status = schema_of(kind)["properties"]["status"]
        assert status["default"] == {"observedGeneration": -1}
        assert [path for path, node in nodes(status) if "default" in node] == ["", ".observedGeneration"]


def test_defaults_reach_into_fields_that_are_not_written() -> None:
    job = schema_of("ImageJob")["properties"]["spec"]["properties"]
    assert job["failurePolicy"]["default"] == {}
    assert job["failurePolicy"]["properties"]["maxFailureRate"]["default"] == 0.1
    inference = job["pipeline"]["properties"]["steps"]["items"]["properties"]["infer"]["properties"]
    assert inference["outputs"]["default"] == {"topK": {}}
    assert inference["outputs"]["properties"]["topK"]["properties"]["k"]["default"] == 5
    assert inference["preprocess"]["properties"]["normalize"]["properties"]["mean"]["default"] == [0.485, 0.456, 0.406]


@pytest.mark.parametrize(
    ("path", "key"),
    [
        (("ImageJob", "spec", "pipeline", "steps"), "name"),
        (("ImageJob", "spec", "pipeline", "steps", "limits"), "name"),
        (("ImageJob", "status", "conditions"), "type"),
        (("NodeLimit", "spec", "overrides"), "node"),
    ],
)
def test_list_maps(path: tuple[str, ...], key: str) -> None:
    node = schema_of(path[0])
    for name in path[1:]:
        node = node.get("items", node)["properties"][name]
    assert (node["x-kubernetes-list-type"], node["x-kubernetes-list-map-keys"]) == ("map", [key])


def columns(kind: str, *, wide: bool) -> list[str]:
    (version,) = CRDS[kind]["spec"]["versions"]
    return [column["name"].upper() for column in version["additionalPrinterColumns"] if wide or not column.get("priority")]


def test_what_kubectl_get_prints() -> None:
    assert columns("ImageJob", wide=False) == ["PHASE", "PROGRESS", "FAILED", "RATE", "WAITING", "AGE"]
    assert set(columns("ImageJob", wide=True)) - set(columns("ImageJob", wide=False)) == {"PIPELINE", "PODS", "ETA", "REASON", "OUTPUT"}
    assert columns("NodeLimit", wide=True) == ["SLOTS", "HELD", "WAITING", "NODES", "AGE"]
    assert columns("ImagePipeline", wide=True) == ["AGE"]


@pytest.mark.parametrize("kind", CRDS)
def test_columns_point_to_fields(kind: str) -> None:
    (version,) = CRDS[kind]["spec"]["versions"]
    for column in version["additionalPrinterColumns"]:
        if column["name"] == "Age":
            continue
        node = version["schema"]["openAPIV3Schema"]
        for name in re.sub(r"\[.*?\]", "", column["jsonPath"]).strip(".").split("."):
            node = node.get("items", node)["properties"][name]
        assert node["type"] == column["type"], column["name"]


def test_names_and_scopes() -> None:
    facts = {
        kind: (crd["spec"]["scope"], crd["spec"]["names"]["shortNames"], crd["spec"]["names"]["categories"], crd["metadata"]["name"])
        for kind, crd in CRDS.items()
    }
    assert facts == {
        "ImageJob": ("Namespaced", ["ij"], ["imagejob-all"], "imagejobs.imagejob.dev"),
        "ImagePipeline": ("Namespaced", ["ipl"], ["imagejob-all"], "imagepipelines.imagejob.dev"),
        "NodeLimit": ("Cluster", ["nl"], ["imagejob-all"], "nodelimits.imagejob.dev"),
    }


def test_status_is_a_subresource_where_there_is_one() -> None:
    with_status = {kind for kind, crd in CRDS.items() if "subresources" in crd["spec"]["versions"][0]}
    assert with_status == {"ImageJob", "NodeLimit"}


def test_a_keyword_without_counterpart_is_refused_by_the_generator() -> None:
    class Odd(ApiModel):
        """Odd."""

        pair: tuple[int, str]
        """A pair."""

    with pytest.raises(ValueError, match="no structural counterpart for prefixItems"):
        structural_schema(Odd)


def test_one_line() -> None:
    assert one_line("First ``code``\n    goes on.\n\nSecond.") == "First `code` goes on."


# --- the files in the checkout ---


def test_the_generated_files_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert crdgen.main(["--check"]) == 0, capsys.readouterr().err


def test_check_names_a_stale_file_and_writing_mends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pyproject.toml").touch()
    assert crdgen.main(["--checkout", str(tmp_path)]) == 0
    assert crdgen.main(["--checkout", str(tmp_path), "--check"]) == 0
    stale = tmp_path / "crds" / "imagejobs.yaml"
    stale.write_text(stale.read_text().replace("ij", "xx"))
    capsys.readouterr()
    assert crdgen.main(["--checkout", str(tmp_path), "--check"]) == 1
    assert capsys.readouterr().err == "crds/imagejobs.yaml is not what crds/imagejob_api says; run `make crds` and commit it\n"
    assert crdgen.main(["--checkout", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "wrote crds/imagejobs.yaml\n"
    assert crdgen.main(["--checkout", str(tmp_path), "--check"]) == 0


def test_outside_of_a_checkout_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        crdgen.main(["--checkout", str(tmp_path)])
    assert "is no checkout of imagejob; name one with --checkout" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_reference_has_every_field() -> None:
    (page,) = [text for path, text in crdgen.generated().items() if path.name == "reference.md"]
    for kind in CRDS:
        for path, _ in nodes(schema_of(kind)["properties"]["spec"]):
            name = path.rpartition(".")[2]
            assert not name.isalnum() or f"`{name}`" in page, path


# --- the CRDs and the models agree ---


def strict(schema: Json) -> jsonschema.Draft4Validator:
    """A validator as strict as an API server asked for strict fields: unknown ones are refused, null counts as unset."""
    closed = copy.deepcopy(schema)
    for _, node in nodes(closed):
        if "properties" in node and not node.get("x-kubernetes-preserve-unknown-fields"):
            node["additionalProperties"] = False
    return jsonschema.Draft4Validator(closed)


def pruned(value: object, schema: Json) -> object:
    """A value without the nulls that an API server drops."""
    if isinstance(value, dict) and "properties" in schema:
        return {key: pruned(item, schema["properties"].get(key, {})) for key, item in value.items() if item is not None}
    if isinstance(value, list) and "items" in schema:
        return [pruned(item, schema["items"]) for item in value]
    return value


def schema_takes(value: Json) -> bool:
    schema = schema_of(value["kind"])
    return strict(schema).is_valid(pruned(value, schema))


def model_takes(value: Json) -> bool:
    try:
        KINDS[value["kind"]].model_validate_json(json.dumps(value), strict=True, by_alias=True, by_name=False)
    except ValidationError:
        return False
    return True


CALL = {"function": "m:f"}

INVALID = {
    "no source": image_job(source=None),
    "no output": image_job(output=None),
    "unknown field": image_job(paralellism=1),
    "unknown field deep down": image_pipeline(step("a", download={"maxByte": 1})),
    "Python's spelling": image_pipeline(step("a", download={"max_bytes": 1})),
    "text for a number": image_job(parallelism="4"),
    "a fraction of a pod": image_job(parallelism=1.5),
    "number for text": image_job(output={"url": 5}),
    "number for a boolean": image_job(suspend=1),
    "boolean for a number": image_job(shards=True),
    "too few": image_job(parallelism=0),
    "too many": image_job(parallelism=10_001),
    "rate above one": image_job(failurePolicy={"maxFailureRate": 1.1}),
    "fraction of nothing": image_pipeline(step("a", download={}), step("b", infer=infer(preprocess={"cropFraction": 0}))),
    "unknown format": image_job(output={"url": "x", "format": "csv"}),
    "unknown sharing": image_job(gpu={"sharing": "mps"}),
    "empty list": image_job(source={"urls": []}),
    "too long a list": image_job(source={"urls": [{"url": "x"}] * 1001}),
    "null in a list": image_job(source={"urls": [None]}),
    "empty url": image_job(source={"prefix": {"url": ""}}),
    "too long a url": image_job(source={"prefix": {"url": "x" * 4097}}),
    "list for a mapping": image_job(source=[]),
    "mapping for a list": image_pipeline() | {"spec": {"steps": {}}},
    "no steps": image_pipeline() | {"spec": {"steps": []}},
    "step without a name": image_pipeline({"call": CALL}),
    "step's name in capitals": image_pipeline(step("A", call=CALL)),
    "step's name too long": image_pipeline(step("a" * 64, call=CALL)),
    "no function": image_pipeline(step("a", call={})),
    "function without module": image_pipeline(step("a", call={"function": "f"})),
    "colour": image_pipeline(step("a", download={}), step("b", transform={"decode": {"background": "white"}})),
    "device": image_pipeline(step("a", download={}), step("b", infer=infer(device="gpu"))),
    "digest in capitals": image_pipeline(step("a", download={}), step("b", infer={"model": {"architecture": "a:b", "sha256": "F" * 64}})),
    "two means": image_pipeline(step("a", download={}), step("b", infer=infer(preprocess={"normalize": {"mean": [0, 0]}}))),
    "no slots of a step": image_pipeline(step("a", call=CALL, limits=[{"name": "gpu", "slots": 0}])),
    "quantity": image_job(template={"resources": {"limits": {"cpu": "two"}}}),
    "fraction of a cpu without quotes": image_job(template={"resources": {"limits": {"cpu": 0.5}}}),
    "host network": image_job(template={"hostNetwork": True}),
    "kind of volume": image_job(template={"volumes": [{"name": "a", "nfs": {"server": "s", "path": "/"}}]}),
    "slots below zero": node_limit(slots=-1),
    "short lease": node_limit(slots=1, leaseDurationSeconds=1),
    "override without slots": node_limit(slots=1, overrides=[{"node": "n"}]),
}


@pytest.mark.parametrize("name", VALID)
def test_schema_and_model_take_a_valid_object(name: str) -> None:
    assert schema_takes(VALID[name])
    assert model_takes(VALID[name])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_schema_takes_the_examples(path: Path) -> None:
    for document in read_documents(path.read_text()):
        if document.value["kind"] in CRDS:
            assert schema_takes(document.value)


@pytest.mark.parametrize("name", INVALID)
def test_schema_and_model_refuse_an_invalid_object(name: str) -> None:
    assert not schema_takes(INVALID[name])
    assert not model_takes(INVALID[name])


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_the_crd_says_of_a_broken_rule_what_the_model_says(broken: Broken) -> None:
    """The model's side, with the exact message, is in test_documents; an API server evaluates the rule itself."""
    node = schema_of(broken.object["kind"])
    rules = list(node.get("x-kubernetes-validations", ()))
    for name in re.sub(r"\[\d+\]", "", broken.path).split("."):
        node = node.get("items", node)["properties"][name]
        for place in (node, node.get("items", {})):
            rules += place.get("x-kubernetes-validations", [])
    assert broken.message in [rule["message"] for rule in rules]
    assert schema_takes(broken.object), "only the rule is broken"
    assert not model_takes(broken.object)


def test_every_rule_has_an_object_that_breaks_it() -> None:
    """At its place: rules that are written in several places share their message."""
    rules = {
        (kind, path + rule.get("fieldPath", ""), rule["message"])
        for kind in CRDS
        for path, node in nodes(schema_of(kind))
        for rule in node.get("x-kubernetes-validations", ())
        if "metadata.name" not in rule["message"] and rule["message"] not in {change.message for change in CHANGES}
    }
    broken = {(broken.object["kind"], re.sub(r"\[\d+\]", "[]", f".{broken.path}"), broken.message) for broken in BROKEN}
    assert rules - broken == set()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_changes_start_and_end_with_valid_objects(change: Change) -> None:
    assert model_takes(change.before)
    assert model_takes(change.after)


@pytest.mark.parametrize(
    "value", [image_job("a.b"), image_job("a" * 53), image_job("-a"), node_limit("a.b"), node_limit("a" * 64), image_pipeline(name="A")]
)
def test_names_that_kubernetes_would_trip_over_later(value: Json) -> None:
    assert not model_takes(value)

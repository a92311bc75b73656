"""Values: each is known to the schema and described, and a wrong one is refused with its name."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.cluster.exceptions import CommandError
from tests.tools.chart import CHART, Json, rendered

VALUES: Json = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: Json = json.loads((CHART / "values.schema.json").read_text())


def leaves(values: Json, schema: Json, path: str = "") -> Iterator[str]:
    """Values that the chart gives a meaning of its own; what goes to Kubernetes as it is counts as one."""
    for name, value in values.items():
        part = schema["properties"][name]
        if "properties" in part and part.get("$comment") != "goes to Kubernetes as it is":
            yield from leaves(value, part, f"{path}{name}.")
        else:
            yield path + name


def closed(schema: Any, path: str = "") -> Iterator[str]:  # noqa: ANN401  a part of a schema
    """Objects with fields of their own that would take others, too."""
    if isinstance(schema, dict):
        if "properties" in schema and schema.get("additionalProperties") is not False:
            yield path
        for name, part in schema.items():
            yield from closed(part, f"{path}/{name}")


def test_every_value_is_described_and_nothing_else() -> None:
    described = re.findall(r"^\| `([\w.]+)` \|", (CHART / "README.md").read_text(), re.MULTILINE)
    assert described == list(leaves(VALUES, SCHEMA)), "the README's tables, in the order of values.yaml"


def test_no_value_is_taken_that_means_nothing() -> None:
    assert list(closed(SCHEMA)) == []


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replicas": 2}, "replicas"),
        ({"image": {"repo": "x"}}, "repo"),
        ({"image": {"digest": "sha256:abc"}}, "/image/digest"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
        ({"nodeLimit": {"slots": -1}}, "/nodeLimit/slots"),
        ({"nodeLimit": {"overrides": [{"node": "a"}]}}, "/nodeLimit/overrides/0"),
        ({"nodeLimit": {"leaseDurationSeconds": 1}}, "/nodeLimit/leaseDurationSeconds"),
        ({"watchNamespaces": ["Team A"]}, "/watchNamespaces/0"),
        ({"watchNamespaces": "team-a"}, "/watchNamespaces"),
        ({"runner": {"allowedModules": ["os:system"]}}, "/runner/allowedModules/0"),
        ({"operator": {"workers": 0}}, "/operator/workers"),
        ({"operator": {"logLevel": "LOUD"}}, "/operator/logLevel"),
        ({"networkPolicy": {"apiServer": {"ports": []}}}, "/networkPolicy/apiServer/ports"),
        ({"limits": {"namespace": "elsewhere"}}, "set limits.manage to false, too"),
        ({"operator": {"heartbeatSeconds": 60}}, "lower the first or raise the second"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name is needed"),
        ({"nodeLimit": {"slotsPerDevice": None}}, "nodeLimit needs slots or slotsPerDevice"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_a_wrong_value_is_refused_by_name(values: Json, named: str) -> None:
    with pytest.raises(CommandError, match=re.escape(named)):
        rendered(values)

"""JSON schemas of Kubernetes' kinds, for kubeconform: made from the OpenAPI document that the module of Kubernetes carries.

So they are of the very version that the tests run, and no web site is asked for them.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.cluster.cache import cached
from tests.cluster.components.build import KUBERNETES_VERSION, module_folder

Json = dict[str, Any]

LOCATION: Final = "{{ .ResourceKind }}{{ .KindSuffix }}.json"
"""Where kubeconform finds a kind's schema in the folder."""

_FOLDER: Final = "schemas"
_FORM: Final = 1
"""Of what is written here; another one is another entry of the cache."""
_REFERENCE: Final = "#/definitions/"
_TWO_TYPES: Final = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": ["integer", "string"],
    "io.k8s.apimachinery.pkg.api.resource.Quantity": ["number", "string"],
}
"""Said to be strings, and written as numbers, too."""


def kubernetes_schemas() -> Path:
    """The folder with a schema for each kind, each complete in itself, in which unknown fields are mistakes.

    Raises:
        UnavailableError: Kubernetes' module is not there and cannot be fetched.
    """
    return cached(f"schemas-{KUBERNETES_VERSION}-{_FORM}", _FOLDER, _write) / _FOLDER


def _write(folder: Path) -> None:
    document = json.loads((module_folder("k8s.io/kubernetes") / "api" / "openapi-spec" / "swagger.json").read_text())
    definitions = {name: closed(name, definition) for name, definition in document["definitions"].items()}
    (folder / _FOLDER).mkdir()
    for name, definition in definitions.items():
        for kind in definition.get("x-kubernetes-group-version-kind", ()):
            group = [kind["group"].partition(".")[0]] if kind["group"] else []
            path = folder / _FOLDER / f"{'-'.join([kind['kind'], *group, kind['version']]).lower()}.json"
            path.write_text(json.dumps({"$ref": _REFERENCE + name, "definitions": _needed(name, definitions)}))


def closed(name: str, definition: Json) -> Json:
    """A definition of OpenAPI as one of JSON schema that allows no other fields."""
    if name in _TWO_TYPES:
        return {"type": _TWO_TYPES[name]}
    if "properties" in definition and "additionalProperties" not in definition:
        return {**definition, "additionalProperties": False}
    return definition


def _needed(name: str, definitions: Json) -> Json:
    """A definition and all that it refers to."""
    found: Json = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found[current] = definitions[current]
            waiting += _references(definitions[current])
    return found


def _references(definition: Json) -> Iterator[str]:
    yield from re.findall(rf'"\$ref": "{re.escape(_REFERENCE)}([^"]+)"', json.dumps(definition))

"""Turns the models into the structural schemas that Kubernetes takes.

pydantic writes JSON schema of draft 2020-12 with references, ``anyOf`` with null, ``const`` and numeric exclusive bounds; a
CustomResourceDefinition may have none of these (Kubernetes documentation, "Specifying a structural schema").
"""

import re
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

JsonSchema = dict[str, Any]

_ORDER: Final = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "default",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "anyOf",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "required",
    "properties",
    "additionalProperties",
    "items",
    "x-kubernetes-validations",
)
"""Keywords as they are written; any other is a mistake of this module."""


class _Generator(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:  # noqa: ANN401  pydantic's signature
        """A default model as what was written of it: the API server adds the defaults inside."""
        if isinstance(dft, BaseModel):
            return dft.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return super().encode_default(dft)


def json_schema(model: type[BaseModel]) -> JsonSchema:
    """The JSON schema of a model as pydantic writes it, with references to ``$defs``."""
    return model.model_json_schema(by_alias=True, mode="validation", schema_generator=_Generator)


def one_line(text: str) -> str:
    """A docstring as plain text: the first paragraph on one line, code in single backticks."""
    return re.sub(r"\s+", " ", text.split("\n\n", maxsplit=1)[0]).replace("``", "`").strip()


def structural_schema(model: type[BaseModel]) -> JsonSchema:
    """The structural schema of a resource, for ``openAPIV3Schema``."""
    raw = json_schema(model)
    root = _structural(raw, raw.get("$defs", {}))
    root["required"] = ["spec"]
    properties = root["properties"]
    for name, words in (
        ("apiVersion", "Group and version of the object's schema."),
        ("kind", "Kind of the object."),
    ):
        properties[name] = {"description": words, "type": "string"}
    # The API server knows it, and anything said here would narrow it; but a rule may point only to a field that is named.
    properties["metadata"] = {"type": "object", "properties": {"name": {"description": "Name of the object.", "type": "string"}}}
    if "status" in properties:
        properties["status"] = _written_by_the_operator(properties["status"])
    return root


def _written_by_the_operator(status: JsonSchema) -> JsonSchema:
    """A status without defaults, but for an observedGeneration that no object ever had.

    Defaults would show zeros that nobody counted. Without the generation, kstatus takes a new object for done until the operator's first
    write.
    """
    bare = _without_defaults(status)
    generation = bare["properties"]["observedGeneration"]
    bare["properties"]["observedGeneration"] = _ordered({**generation, "default": -1})
    return _ordered({**bare, "default": {"observedGeneration": -1}})


def _without_defaults(node: JsonSchema) -> JsonSchema:
    result = {key: value for key, value in node.items() if key != "default"}
    if "properties" in result:
        result["properties"] = {name: _without_defaults(child) for name, child in result["properties"].items()}
    if "items" in result:
        result["items"] = _without_defaults(result["items"])
    return result


def _structural(node: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    node = _inlined(_without_null(node), definitions)
    node = {key: value for key, value in node.items() if key not in {"title", "$defs"} and not (key == "default" and value is None)}
    if "description" in node:
        node["description"] = one_line(node["description"])
    if "const" in node:
        node["enum"] = [node.pop("const")]
    for bound, keyword in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if bound in node:
            node[keyword], node[bound] = node[bound], True
    if "x-kubernetes-validations" in node:
        rules = node["x-kubernetes-validations"]
        node["x-kubernetes-validations"] = [{key: rule[key] for key in ("rule", "message", "fieldPath") if key in rule} for rule in rules]
    if "properties" in node:
        node["properties"] = {name: _structural(child, definitions) for name, child in node["properties"].items()}
    if "items" in node:
        node["items"] = _structural(node["items"], definitions)
    values = node.pop("additionalProperties", False)
    if values is True:
        node["additionalProperties"] = {"x-kubernetes-preserve-unknown-fields": True}
    elif values is not False:
        node["additionalProperties"] = _structural(values, definitions)
    return _ordered(node)


def _inlined(node: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    """What a reference refers to; a field's own words go before those of its type."""
    if "$ref" not in node:
        return node
    target = definitions[node["$ref"].removeprefix("#/$defs/")]
    return _inlined({**target, **{key: value for key, value in node.items() if key != "$ref"}}, definitions)


def _without_null(node: JsonSchema) -> JsonSchema:
    """Takes null out of ``anyOf``: for the API server an optional field is one that need not be there."""
    choices = [choice for choice in node.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) == 1 and len(node["anyOf"]) > 1:
        return {**choices[0], **{key: value for key, value in node.items() if key != "anyOf"}}
    return node


def _ordered(node: JsonSchema) -> JsonSchema:
    unknown = set(node) - set(_ORDER)
    if unknown:
        raise ValueError(f"no structural counterpart for {', '.join(sorted(unknown))} in {node}")
    return {key: node[key] for key in _ORDER if key in node}

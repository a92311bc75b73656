"""Writes the reference of all fields, `docs/reference.md`, from the models."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pydantic import BaseModel

from imagejob_api.schema import JsonSchema, json_schema, one_line

_INTRODUCTION: Final = """<!-- generated from crds/imagejob_api by `make crds`; do not edit -->
# Reference

All fields of the API, group `imagejob.dev`, version `v1alpha1`. `kubectl explain imagejob.spec` says the same.

- A field in **bold** is required.
- A *duration* is written in whole numbers with `h`, `m`, `s` or `ms`: `500ms`, `30s`, `1h30m`.
- A *quantity* is an amount as Kubernetes writes it: `2`, `500m`, `4Gi`.
- An *object* is passed to Kubernetes or to a Python function as it is.
"""

_STANDARD: Final = frozenset({"apiVersion", "kind", "metadata"})


def reference_page(models: Sequence[type[BaseModel]]) -> str:
    """The page, as Markdown: a section for each kind, then one for each type that their fields have."""
    definitions: dict[str, JsonSchema] = {}
    kinds: list[tuple[str, JsonSchema]] = []
    for model in models:
        raw = json_schema(model)
        definitions.update(raw.get("$defs", {}))
        kinds.append((model.__name__, raw))
    page = _Page(definitions)
    sections = [page.section(name, schema) for name, schema in kinds]
    return "\n".join([_INTRODUCTION, *sections, *page.referred()])


class _Page:
    """Sections in the order in which fields first mention them."""

    def __init__(self, definitions: dict[str, JsonSchema]) -> None:
        self._definitions = definitions
        self._mentioned: list[str] = []

    def section(self, name: str, schema: JsonSchema) -> str:
        required = set(schema.get("required", ()))
        fields = {field: node for field, node in schema["properties"].items() if name not in _KINDS or field not in _STANDARD}
        rows = [self._row(field, node, required=field in required) for field, node in fields.items()]
        rules = [f"- {rule['message']}" for rule in schema.get("x-kubernetes-validations", ())]
        parts = [f"## {name}", "", one_line(schema["description"]), ""]
        if rows:
            parts += ["| field | type | default | meaning |", "|---|---|---|---|", *rows, ""]
        if rules:
            parts += ["Rules:", "", *rules, ""]
        return "\n".join(parts)

    def referred(self) -> Iterator[str]:
        done = 0
        while done < len(self._mentioned):
            name = self._mentioned[done]
            done += 1
            yield self.section(name, self._definitions[name])

    def _row(self, field: str, node: JsonSchema, *, required: bool) -> str:
        name = f"**`{field}`**" if required else f"`{field}`"
        default = "" if node.get("default") is None or node["default"] == {} else f"`{json.dumps(node['default'], ensure_ascii=False)}`"
        meaning = one_line(node.get("description") or self._definitions[_referred(node)]["description"])
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in (name, self._type(node), default, meaning)) + " |"

    def _type(self, node: JsonSchema) -> str:
        choices = [choice for choice in node.get("anyOf", ()) if choice.get("type") != "null"]
        if node.get("x-kubernetes-int-or-string"):
            return "quantity"
        if choices:
            return self._type({**choices[0], **{key: value for key, value in node.items() if key != "anyOf"}})
        if "$ref" in node:
            return self._reference(_referred(node))
        if "enum" in node:
            return ", ".join(f"`{value}`" for value in node["enum"])
        if "const" in node:
            return f"`{node['const']}`"
        return self._plain(node)

    def _plain(self, node: JsonSchema) -> str:
        match node["type"]:
            case "array":
                return f"list of {self._type(node['items'])}{_size(node)}"
            case "object":
                values = node.get("additionalProperties")
                return f"map of {self._type(values)}" if isinstance(values, dict) else "object"
            case "string":
                return "duration" if "duration" in json.dumps(node.get("x-kubernetes-validations", "")) else "text"
            case "integer" | "number" as kind:
                return ("whole number" if kind == "integer" else "number") + _range(node)
            case kind:
                return {"boolean": "true or false"}[kind]

    def _reference(self, name: str) -> str:
        target = self._definitions[name]
        if "enum" in target:
            return self._type(target)
        if name not in self._mentioned:
            self._mentioned.append(name)
        return f"[{name}](#{name.lower()})"


def _referred(node: JsonSchema) -> str:
    """The definition that a field refers to; pydantic leaves out a field's own description where the two are equal."""
    found = next(choice for choice in (node, *node.get("anyOf", ())) if "$ref" in choice)
    return str(found["$ref"]).removeprefix("#/$defs/")


_KINDS: Final = frozenset({"ImageJob", "ImagePipeline", "NodeLimit"})


def _range(node: dict[str, Any]) -> str:
    low = node.get("minimum", node.get("exclusiveMinimum"))
    high = node.get("maximum", node.get("exclusiveMaximum"))
    if low is not None and high is not None:
        return f", {low:,} to {high:,}"
    return f", {low:,} or more" if low is not None else ""


def _size(node: dict[str, Any]) -> str:
    return f", {node['maxItems']:,} at most" if "maxItems" in node else ""

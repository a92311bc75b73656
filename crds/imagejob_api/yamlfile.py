"""Reads YAML and JSON the way `kubectl` does, with the place of every value.

PyYAML's own loader differs from what an API server would get: it takes the last of two equal keys without a word, turns dates into
objects and ``1:30`` into 90, and reads ``1e-6`` as text. Here scalars follow the rules of go-yaml v2 (``resolve.go``), which kubectl
uses, equal keys are an error, and the result is plain JSON.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import yaml

MAX_VALUES: Final = 1_000_000
"""Values in one document after aliases are expanded; nested aliases could grow a small file without end."""

_TRUE: Final = ("y", "yes", "true", "on")
_FALSE: Final = ("n", "no", "false", "off")
_INT: Final = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|[1-9][0-9]*|0)")
_OCTAL: Final = re.compile(r"[-+]?0[0-7]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Final[dict[str, float | bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **{form: word in _TRUE for word in (*_TRUE, *_FALSE) for form in (word, word.capitalize(), word.upper())},
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_EXACT: Final = 2.0**53
_STR: Final = "tag:yaml.org,2002:str"
_UNTAGGED: Final = "untagged"
_SCALAR_TAGS: Final = frozenset(f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float", "null", "timestamp"))

Location = tuple[str | int, ...]
"""Keys and list indices from the root of a document to a value."""


class YamlError(Exception):
    """The text is not YAML, or holds something that has no counterpart in JSON.

    Args:
        message: What is wrong.
        fix: What to do.
        line: Line of the place, counted from 1.
        location: The mapping or list in which it happened.
    """

    def __init__(self, message: str, *, fix: str = "", line: int | None = None, location: Location = ()) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.line = line
        self.location = location


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file as plain JSON."""

    index: int
    """Its number in the file, counted from 1."""
    value: Any
    """Dictionaries, lists, text, numbers, booleans and None."""
    node: yaml.Node | None = None
    """The YAML nodes it was made from; None for JSON."""

    def line(self, location: Location) -> int | None:
        """The line of a value, or of the nearest thing around it that is there."""
        node = self._node(location)
        return None if node is None else node.start_mark.line + 1

    def raw(self, location: Location) -> str | None:
        """A scalar as it is written, such as ``no`` for a value that YAML reads as false; None if it is none or quoted."""
        node = self._node(location, exact=True)
        return str(node.value) if isinstance(node, yaml.ScalarNode) and node.tag == _UNTAGGED else None

    def _node(self, location: Location, *, exact: bool = False) -> yaml.Node | None:
        node = self.node
        for step in location:
            child = _child(node, step)
            if child is None:
                return None if exact else node
            node = child
        return node


def _child(node: yaml.Node | None, step: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if isinstance(key, yaml.ScalarNode) and key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return cast("yaml.Node", node.value[step])
    return None


def read_documents(text: str) -> Iterator[Document]:
    """Yields the documents of a YAML or JSON text; empty ones are left out but counted.

    Raises:
        YamlError: The text cannot be read; documents before the place have been yielded.
    """
    if text.lstrip().startswith("{"):
        found = _read_json(text)
        if found is not None:
            yield from found
            return
    try:
        for index, node in enumerate(yaml.compose_all(text, Loader=_Loader), start=1):
            value = _Plain().of(node, ())
            if value is not None:
                yield Document(index, value, node)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error) from None
    except yaml.YAMLError as error:
        raise YamlError(f"not YAML: {error}", fix="save the file as UTF-8 text without control characters") from None
    except RecursionError:
        raise YamlError("nested too deeply", fix="remove the alias that contains itself") from None


def _read_json(text: str) -> list[Document] | None:
    """The documents of a stream of JSON objects; None if it is no JSON (a YAML flow mapping begins with the same letter)."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique_pairs)
    documents: list[Document] = []
    position = 0
    while position < len(text):
        try:
            value, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError:
            return None
        documents.append(Document(len(documents) + 1, value))
        position += len(text[position:]) - len(text[position:].lstrip())
    return documents


def _unique_pairs(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise YamlError(f"the key {key} stands twice in one object", fix="keep one of them")
        result[key] = value
    return result


def _syntax_error(error: yaml.MarkedYAMLError) -> YamlError:
    mark = error.problem_mark or error.context_mark
    what = " ".join(part for part in (error.context, error.problem) if part)
    if mark is None:
        return YamlError(f"not YAML: {what}")
    fix = (
        "indent with spaces; YAML allows no tabs"
        if "'\\t'" in what
        else "check the indentation, colons and quotes there and on the line before"
    )
    snippet = mark.get_snippet(indent=4) or ""
    shown = f"\n{snippet}" if snippet else ""
    return YamlError(f"not YAML: {what} (line {mark.line + 1}, column {mark.column + 1}){shown}", fix=fix, line=mark.line + 1)


class _Loader(yaml.SafeLoader):
    """Composes nodes without PyYAML's rules for scalars: those without tag and quotes are marked, and read by `_unquoted`."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:  # noqa: ANN401  PyYAML's signature
        if kind is yaml.ScalarNode:
            return _UNTAGGED if implicit[0] else _STR
        return str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]  # not in the stubs


class _Plain:
    """Turns the nodes of one document into plain JSON, counting what it makes."""

    def __init__(self) -> None:
        self._made = 0

    def of(self, node: yaml.Node, location: Location) -> Any:  # noqa: ANN401  JSON may be anything
        self._made += 1
        if self._made > MAX_VALUES:
            raise YamlError(
                f"more than {MAX_VALUES:,} values once aliases are expanded", fix="write fewer aliases (*name) inside one another"
            )
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self.of(item, (*location, index)) for index, item in enumerate(node.value)]
        return _scalar(cast("yaml.ScalarNode", node), location)

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.value == "<<" and key_node.tag == _UNTAGGED:
                merged = {**self._merged(value_node, location), **merged}
                continue
            key = _key(key_node, location)
            line = key_node.start_mark.line + 1
            if key in own:
                raise YamlError(
                    f"the key {key} stands twice, on lines {lines[key]} and {line}", fix="keep one of them", line=line, location=location
                )
            lines[key] = line
            own[key] = self.of(value_node, (*location, key))
        return {**merged, **own}

    def _merged(self, node: yaml.Node, location: Location) -> dict[str, Any]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        result: dict[str, Any] = {}
        for source in reversed(sources):
            if not isinstance(source, yaml.MappingNode):
                line = source.start_mark.line + 1
                raise YamlError("<< must be followed by an alias of a mapping", fix="write << : *name", line=line, location=location)
            result.update(self._mapping(source, location))
        return result


def _key(node: yaml.Node, location: Location) -> str:
    if isinstance(node, yaml.ScalarNode):
        value = _scalar(node, location)
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(node.value)
        shown = node.value or "(nothing)"
        message = f"the key {shown} is read as {json.dumps(value)}, and a key must be text"
        raise YamlError(message, fix=f'put it in quotes: "{node.value}"', line=node.start_mark.line + 1, location=location)
    message = "a key must be text, not a mapping or a list"
    raise YamlError(message, fix="put {{ … }} templates in quotes", line=node.start_mark.line + 1, location=location)


def _scalar(node: yaml.ScalarNode, location: Location) -> Any:  # noqa: ANN401  JSON may be anything
    if node.tag == _STR:
        return node.value
    if node.tag == _UNTAGGED or node.tag in _SCALAR_TAGS:
        return _unquoted(node.value)
    raise YamlError(f"the tag {node.tag} means nothing here", fix="remove it", line=node.start_mark.line + 1, location=location)


def _unquoted(text: str) -> str | float | bool | None:
    """A scalar without quotes, by the rules of go-yaml v2."""
    if text in _WORDS:
        return _WORDS[text]
    digits = text if text.startswith("_") else text.replace("_", "")
    if _OCTAL.fullmatch(digits):
        return int(digits, 8)
    if _INT.fullmatch(digits):
        return int(digits, 0)
    if _FLOAT.fullmatch(digits) and math.isfinite(number := float(digits)):
        return int(number) if number.is_integer() and abs(number) < _EXACT else number  # as Go writes it in JSON
    return text

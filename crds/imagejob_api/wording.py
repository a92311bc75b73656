"""Says what pydantic found in the words of somebody who writes YAML: the value, what is wrong with it, what to do."""

import difflib
import json
import re
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from imagejob_api.base import COLOUR_PATTERN, DEVICE_PATTERN, FUNCTION_PATTERN, NAME_PATTERN, SHA256_PATTERN, SUBDOMAIN_PATTERN
from imagejob_api.exceptions import RuleBrokenError
from imagejob_api.redaction import redacted
from imagejob_api.yamlfile import Document, Location

MAX_SHOWN: Final = 60
"""Characters of a value that a message shows."""
_SHOWN_NAMES: Final = 10

_PATTERNS: Final = {
    NAME_PATTERN: ("must be lower-case letters, digits and dashes, beginning and ending with a letter or digit", ""),
    SUBDOMAIN_PATTERN: ("must be lower-case letters, digits, dashes and dots, each part beginning and ending with a letter or digit", ""),
    COLOUR_PATTERN: ("must be a colour such as #ffffff", ""),
    DEVICE_PATTERN: ("must be auto, cpu, cuda or a numbered one such as cuda:0", ""),
    FUNCTION_PATTERN: ("must be an import path such as package.module:function", ""),
    SHA256_PATTERN: ("must be 64 lower-case hexadecimal digits", "write what `sha256sum` prints for the file"),
}
_TYPES: Final = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping of names to values",
    "model_type": "a mapping of fields",
}
_TEMPLATES: Final = {
    "value_error": "{error}",
    "greater_than_equal": "must be at least {ge:,}",
    "greater_than": "must be more than {gt:,}",
    "less_than_equal": "must be at most {le:,}",
    "less_than": "must be less than {lt:,}",
    "finite_number": "must be a finite number",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length:,} characters",
    "too_short": "must have {min_length:,} entries or more, and has {actual_length:,}",
    "too_long": "must have {max_length:,} entries or fewer, and has {actual_length:,}",
}
"""What pydantic's errors are called, and their words; the names in braces are from the error's context."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in one document."""

    location: Location
    message: str
    fix: str = ""
    value: str | None = None


def field_path(location: Location) -> str:
    """A location as a user writes it: ``spec.steps[2].infer.batchSize``."""
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"[A-Za-z_$][\w-]*", step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
    return text


def shown(value: object) -> str:
    """A value as JSON on one line, shortened, without the secrets of URLs."""
    text = redacted(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The one of `words` that somebody who wrote `word` most likely meant; snake_case and capitals count as equal."""
    plain = {_plain(known): known for known in words}
    found = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=0.6)
    return plain[found[0]] if found else None


def hint(word: str, words: Iterable[str]) -> str:
    """What somebody who wrote `word` may have meant: the nearest of `words`, or else which there are."""
    known = [*words]
    guess = nearest(word, known)
    return f"did you mean {guess}?" if guess else there_is(known)


def there_is(words: Iterable[str]) -> str:
    """`there is a, b`; the first ten of many."""
    known = [*words]
    shown = ", ".join(known[:_SHOWN_NAMES]) + (", …" if len(known) > _SHOWN_NAMES else "")
    return f"there is {shown or 'none at all'}"


def _plain(word: str) -> str:
    return re.sub(r"[-_ ]", "", word).lower()


def mistakes(model: type[BaseModel], document: Document, value: object, error: ValidationError, root: Location = ()) -> list[Mistake]:
    """What pydantic found, each in plain words.

    Args:
        model: What `value` was validated as.
        document: The document that holds `value`, for the text as it is written.
        value: The JSON that was validated.
        error: What came of it.
        root: Where in the document `value` stands.
    """
    return [_Explainer(model, document, value, root).explain(details) for details in error.errors(include_url=False)]


@dataclass(frozen=True, slots=True)
class _Explainer:
    model: type[BaseModel]
    document: Document
    value: object
    root: Location

    def explain(self, details: ErrorDetails) -> Mistake:
        kind, context = details["type"], details.get("ctx", {})
        location = details["loc"]
        if kind == "missing":
            return self._missing(location)
        if kind == "extra_forbidden":
            return self._unknown(location)
        given = details["input"]
        whole = isinstance(given, dict | list) and kind in {"value_error", "too_short", "too_long"}
        value = None if whole else shown(given)
        error = context.get("error")
        if isinstance(error, RuleBrokenError) and error.field_path:
            location = (*location, *(int(step) if step.isdigit() else step for step in error.field_path.strip(".").split(".")))
        if kind in {"literal_error", "enum"}:
            message, fix = _choice(context["expected"], given)
        elif kind == "string_pattern_mismatch":
            message, fix = _PATTERNS.get(context["pattern"], (f"must match {context['pattern']}", ""))
        elif kind in _TYPES:
            message, fix = f"must be {_TYPES[kind]}", self._type_fix(kind, given, location)
        else:
            message, fix = (_TEMPLATES[kind].format(**context) if kind in _TEMPLATES else details["msg"]), ""
        return Mistake((*self.root, *location), message, fix, value)

    def _type_fix(self, kind: str, given: object, location: Location) -> str:
        raw = self.document.raw((*self.root, *location))
        if kind == "string_type" and isinstance(given, bool | int | float):
            written = raw if raw is not None else shown(given)
            return f'YAML reads {written} without quotes as {_yaml_type(given)}; write "{written}"'
        if kind in {"int_type", "float_type", "bool_type"} and isinstance(given, str):
            if kind == "bool_type" and given.lower() in {"true", "false", "yes", "no", "on", "off"}:
                return f"remove the quotes: {given.lower()}"
            if re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?", given) and kind != "bool_type" and raw is None:
                return f"remove the quotes: {given}"
        if kind == "model_type" and (model := _model_at(self.model, location)) is not None:
            return f"its fields are {', '.join(name for name, _ in _fields(model))}"
        if kind == "list_type":
            return "begin each entry on a line of its own with a dash"
        return ""

    def _missing(self, location: Location) -> Mistake:
        field = _field_at(self.model, location)
        says = (field.description or "").split("\n")[0] if field else ""
        return Mistake(
            (*self.root, *location), "is required but not there", f"add {location[-1]}: {says}" if says else f"add {location[-1]}"
        )

    def _unknown(self, location: Location) -> Mistake:
        name = str(location[-1])
        around = _model_at(self.model, location[:-1])
        fields = dict(_fields(around)) if around else {}
        guess = nearest(name, fields)
        place = (*self.root, *location)
        if guess is not None:
            return Mistake(place, "there is no such field", f"did you mean {guess}?")
        for outer, field in fields.items():
            inner = _model_of(field.annotation)
            if inner is not None and name in dict(_fields(inner)):
                return Mistake(place, "there is no such field here", f"{name} belongs below {outer}")
        return Mistake(place, "there is no such field", f"fields here are {', '.join(fields)}" if fields else "remove it")


def _choice(expected: str, given: object) -> tuple[str, str]:
    choices = re.findall(r"'([^']*)'", expected)
    guess = nearest(given, choices) if isinstance(given, str) else None
    words = f"must be {choices[0]}" if len(choices) == 1 else f"must be one of {', '.join(choices)}"
    return words, f"did you mean {guess}?" if guess else ""


def _yaml_type(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "a number"


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield field.alias or name, field


def _field_at(model: type[BaseModel], location: Location) -> FieldInfo | None:
    around = _model_at(model, location[:-1])
    return dict(_fields(around)).get(str(location[-1])) if around else None


def _model_at(model: type[BaseModel], location: Location) -> type[BaseModel] | None:
    found: type[BaseModel] | None = model
    for step in location:
        if isinstance(step, str) and found is not None:
            field = dict(_fields(found)).get(step)
            found = _model_of(field.annotation) if field else None
    return found


def _model_of(annotation: object) -> type[BaseModel] | None:
    """The model inside an annotation such as ``list[Step] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in typing.get_args(annotation) if (found := _model_of(part)) is not None), None)

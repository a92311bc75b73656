"""What every model of the API has in common."""

import ipaddress
import re
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from imagejob_api.constants import OUTPUT_SCHEMES, SOURCE_SCHEMES
from imagejob_api.exceptions import RuleBrokenError
from imagejob_api.rules import Rule

DURATION_PATTERN: Final = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
SUBDOMAIN_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
SHA256_PATTERN: Final = r"^[0-9a-f]{64}$"
COLOUR_PATTERN: Final = r"^#[0-9a-fA-F]{6}$"
DEVICE_PATTERN: Final = r"^(auto|cpu|cuda(:[0-9]+)?)$"
FUNCTION_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"

_UNIT_MILLISECONDS: Final = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_NOT_A_DURATION: Final = "must be a duration of whole numbers with h, m, s or ms, such as 500ms, 30s or 1h30m"


class ApiModel(BaseModel):
    """Base of all API objects: camelCase on the wire, unknown fields refused, values frozen."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
        allow_inf_nan=False,
        defer_build=True,  # a process that only hands models on, as most do, never pays for their validators
    )

    RULES: ClassVar[tuple[Rule, ...]] = ()
    """What must hold between the fields."""

    @model_validator(mode="before")
    @classmethod
    def _null_means_unset(cls, value: object) -> object:
        # An API server drops a null, or puts the default in its place, before it validates.
        if not isinstance(value, dict):
            return value
        known = {name for attribute, field in cls.model_fields.items() for name in (attribute, field.alias)}
        return {key: item for key, item in value.items() if item is not None or key not in known}

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        for rule in self.RULES:
            if rule.holds is not None and not rule.holds(self):
                raise RuleBrokenError(rule.message, rule.field_path)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Adds the rules to the model's schema."""
        described = handler(schema)
        if cls.RULES:
            handler.resolve_ref_schema(described)["x-kubernetes-validations"] = [rule.to_kubernetes() for rule in cls.RULES]
        return described


def duration_seconds(text: str) -> float:
    """Seconds of a Gateway API duration (GEP-2257) such as ``500ms``, ``30s`` or ``1h30m``.

    Raises:
        ValueError: ``text`` is not such a duration.
    """
    if not _is_duration(text):
        raise ValueError(_NOT_A_DURATION)
    # Whole milliseconds until the end: a sum of fractions is another number than what is read where it is written down with a few digits.
    return sum(int(number) * _UNIT_MILLISECONDS[unit] for number, unit in re.findall(r"([0-9]+)(ms|h|m|s)", text)) / 1000


def _is_duration(text: str) -> bool:
    return re.fullmatch(DURATION_PATTERN, text) is not None and not text.endswith("\n")


def _url_rule(schemes: tuple[str, ...]) -> Rule:
    starts = tuple(f"{scheme}://" for scheme in schemes)
    known = " || ".join(f'self.startsWith("{start}")' for start in starts)
    return Rule(
        message=f"must be a path, or a URL that begins with {', '.join(starts[:-1])} or {starts[-1]}",
        cel=f'!self.contains("://") || {known}',
        holds=lambda url: "://" not in url or url.startswith(starts),
    )


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return "/" in text


Duration = Annotated[str, Field(max_length=32), Rule(_NOT_A_DURATION, f'self.matches("{DURATION_PATTERN}")', _is_duration)]
"""A Gateway API duration (GEP-2257): ``500ms``, ``30s``, ``1h30m``. Whole numbers only."""

Name = Annotated[str, Field(pattern=NAME_PATTERN, min_length=1, max_length=63)]
"""A DNS label: lower-case letters, digits and dashes, at most 63 characters."""

SubdomainName = Annotated[str, Field(pattern=SUBDOMAIN_PATTERN, min_length=1, max_length=253)]
"""A DNS subdomain: labels joined by dots, at most 253 characters."""

Sha256 = Annotated[str, Field(pattern=SHA256_PATTERN)]
"""A SHA-256 digest: 64 lower-case hexadecimal digits."""

FunctionPath = Annotated[str, Field(pattern=FUNCTION_PATTERN, max_length=512)]
"""Import path of something in a Python module: ``module:name``."""

SourceUrl = Annotated[str, Field(min_length=1, max_length=4096), _url_rule(SOURCE_SCHEMES)]
"""URL or path of something that is read."""

OutputUrl = Annotated[str, Field(min_length=1, max_length=4096), _url_rule(OUTPUT_SCHEMES)]
"""URL or path of a folder, or of a prefix in a bucket, that is written."""

Network = Annotated[
    str,
    Field(max_length=64),
    Rule(
        message="must be a network such as 10.0.0.0/8, with no bits set after the prefix",
        cel="isCIDR(self) && cidr(self) == cidr(self).masked()",
        holds=_is_network,
    ),
]
"""A network in CIDR form."""

JsonObject = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})]
"""A part of a pod that is passed through to Kubernetes as it is. A rule may ask whether it is there."""

Arguments = dict[str, Any]
"""Keyword arguments of a Python function. As a map of unknown values, two of them compare as a whole in a rule about changes; of a
`JsonObject` the API server would not see that one key took the place of another."""

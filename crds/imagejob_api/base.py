"""What every model of the API has in common."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

DURATION_PATTERN: Final = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
SHA256_PATTERN: Final = r"^[0-9a-f]{64}$"

_UNIT_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class ApiModel(BaseModel):
    """Base of all API objects: camelCase on the wire, unknown fields refused, values frozen."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )


def duration_seconds(text: str) -> float:
    """Seconds of a Gateway API duration (GEP-2257) such as ``500ms``, ``30s`` or ``1h30m``.

    Raises:
        ValueError: ``text`` is not such a duration.
    """
    if re.fullmatch(DURATION_PATTERN.strip("^$"), text) is None:
        raise ValueError("not a duration: write whole numbers with h, m, s or ms, as in 500ms, 30s or 1h30m")
    return sum(int(number) * _UNIT_SECONDS[unit] for number, unit in re.findall(r"([0-9]+)(ms|h|m|s)", text))


def _checked_duration(text: str) -> str:
    duration_seconds(text)
    return text


Duration = Annotated[str, AfterValidator(_checked_duration), Field(json_schema_extra={"pattern": DURATION_PATTERN})]
"""A Gateway API duration (GEP-2257): ``500ms``, ``30s``, ``1h30m``. Whole numbers only."""

Name = Annotated[str, Field(pattern=NAME_PATTERN, min_length=1, max_length=63)]
"""A DNS label: lower-case letters, digits and dashes, at most 63 characters."""

Sha256 = Annotated[str, Field(pattern=SHA256_PATTERN)]
"""A SHA-256 digest: 64 lower-case hexadecimal digits."""

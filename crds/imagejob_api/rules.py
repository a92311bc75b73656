"""Rules that JSON schema cannot say, each written once for both places that hold it.

A file on a laptop is checked by `Rule.holds`, in Python; the API server checks `Rule.cel`, which the generator writes into the CRD.
Both show `Rule.message`, so a mistake reads the same from either.

CEL as the API server runs it has a price: its cost is estimated from `maxItems` and `maxLength`, and a rule that might cost too much
is refused with the CRD. So every list, map and text that a rule looks at has a bound.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.alias_generators import to_snake
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, of a model (in its ``RULES``) or of a value (in its ``Annotated``)."""

    message: str
    """What must be so, in one line."""
    cel: str
    """The rule as the API server evaluates it; ``self`` is the object or value, ``oldSelf`` what it was before a change."""
    holds: Callable[[Any], bool] | None = None
    """The rule for a model or value that is otherwise valid; None for what a file alone cannot break, or a field's type says already."""
    field_path: str = ""
    """The field below ``self`` that an API server's error points to."""

    def to_kubernetes(self) -> dict[str, str]:
        """The rule as an item of ``x-kubernetes-validations``."""
        shown = {"rule": self.cel, "message": self.message}
        return {**shown, "fieldPath": self.field_path} if self.field_path else shown

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401  pydantic's signature
        """Checks an annotated value after its type."""
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Adds the rule to an annotated value's schema."""
        return {**handler(schema), "x-kubernetes-validations": [self.to_kubernetes()]}

    def _checked(self, value: Any) -> Any:  # noqa: ANN401  any annotated value
        if self.holds is not None and not self.holds(value):
            raise ValueError(self.message)
        return value


def exactly_one(*fields: str) -> Rule:
    """The rule that exactly one of some fields is set.

    Args:
        fields: Names of the fields in YAML.
    """
    attributes = [to_snake(field) for field in fields]
    return Rule(
        message=f"exactly one of {', '.join(fields)} must be set",
        cel=f"[{', '.join(f'has(self.{field})' for field in fields)}].filter(given, given).size() == 1",
        holds=lambda model: sum(getattr(model, name) is not None for name in attributes) == 1,
    )


@dataclass(frozen=True, slots=True)
class ListMap:
    """A list whose entries are told apart by one field, so that each value of it may stand only once.

    Kubernetes calls this a list map: server-side apply merges such lists entry by entry, and the API server refuses a repeated value.
    """

    key: str
    """The field, which every entry has, by its name in YAML and in Python alike."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401  pydantic's signature
        """Checks the list after its entries."""
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Adds what the API server needs to know."""
        return {**handler(schema), "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.key]}

    def _checked(self, entries: list[Any]) -> list[Any]:
        seen: set[object] = set()
        for entry in entries:
            value = getattr(entry, self.key)
            if value in seen:
                raise ValueError(f"the {self.key} {value} stands more than once; give each entry its own")
            seen.add(value)
        return entries

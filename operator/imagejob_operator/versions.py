"""Which version of each object of a kind was seen last.

Objects are told of by a watch, by lists and by answers to own requests, in any order. This keeps apart what is news and what is not, and
finds what a list should have had and has not.
"""

from collections.abc import Container, Mapping
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")


def version_of(thing: Mapping[str, Any]) -> int:
    """Its resourceVersion, which grows."""
    return int(thing["metadata"]["resourceVersion"])


class Versions(Generic[Key]):
    """The objects of one kind that are there, and their versions."""

    def __init__(self) -> None:
        self._known: dict[Key, int] = {}
        self._deleted: set[Key] | None = None

    def update(self, key: Key, version: int) -> bool:
        """Take note of an object; False if a newer version of it is known."""
        if self._known.get(key, 0) > version:
            return False
        self._known[key] = version
        return True

    def remove(self, key: Key, version: int) -> bool:
        """Take note of a deletion; False if the object was made anew since."""
        if self._known.get(key, 0) > version:
            return False
        self._known.pop(key, None)
        if self._deleted is not None:
            self._deleted.add(key)
        return True

    def start_list(self) -> Mapping[Key, int]:
        """Before a list is asked for: what is known."""
        self._deleted = set()
        return dict(self._known)

    def is_deleted(self, key: Key) -> bool:
        """Whether it has been deleted since the list was asked for, so that what the list says of it is old."""
        return self._deleted is not None and key in self._deleted

    def end_list(self, before: Mapping[Key, int], listed: Container[Key]) -> dict[Key, int]:
        """When a whole list has come: those, with their versions, that went before it, untold."""
        self._deleted = None
        return {key: version for key, version in before.items() if key not in listed and self._known.get(key) == version}

"""The long parts of objects, in a bounded amount of memory.

Whoever may create objects decides how long they are. So the operator keeps what is short, and of what is long only what was needed last;
the rest is read from the API server again when a reconcile needs it.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

Key = TypeVar("Key")

SHORT_BYTES: Final = 6 * 1024
"""What is no longer than this is always kept."""
LONG_BYTES: Final = 24 * 1024 * 1024
"""Of everything that is longer, together."""


@dataclass(slots=True)
class Bodies(Generic[Key]):
    """What is known of objects, encoded, each of one version."""

    long_bytes: int = LONG_BYTES
    _short: dict[Key, tuple[str, bytes]] = field(default_factory=dict)
    _long: OrderedDict[Key, tuple[str, bytes]] = field(default_factory=OrderedDict)
    """Those that were needed last stand last."""
    _used: int = 0

    def get(self, key: Key, version: str) -> bytes | None:
        """A body, if it is known and of this version."""
        found = self._short.get(key) or self._long.get(key)
        if found is None or found[0] != version:
            return None
        if key in self._long:
            self._long.move_to_end(key)
        return found[1]

    def put(self, key: Key, version: str, body: bytes, *, needed: bool = False) -> None:
        """Takes in a body. A long one that nobody has needed of late is not kept, unless somebody needs it now."""
        needed = needed or key in self._long
        self.forget(key)
        if len(body) <= SHORT_BYTES:
            self._short[key] = (version, body)
        elif needed:
            self._long[key] = (version, body)
            self._used += len(body)
            while self._used > self.long_bytes:
                _, (_, oldest) = self._long.popitem(last=False)
                self._used -= len(oldest)

    def forget(self, key: Key) -> None:
        """The object is gone, or its body is needed no more."""
        self._short.pop(key, None)
        known = self._long.pop(key, None)
        if known is not None:
            self._used -= len(known[1])

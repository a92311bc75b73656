"""JSON that is read as strictly as it was written, and a seal that tells whether its bytes are still those that were written.

A seal is the last field of an object: ``"digest"``, the head of the SHA-256 of every byte before it. It guards against damage and
mistakes, not against somebody who makes a new one.
"""

import hashlib
import json
import math
from typing import Any, Final, NamedTuple

from imagejob_runner.jsontext import canonical

MAX_DEPTH: Final = 100
"""Deepest nesting of lists and objects that is written or read."""
DIGITS: Final = 16
"""Hexadecimal digits of a digest."""


def short_digest(data: bytes) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()[:DIGITS]


class Seal(NamedTuple):
    """How a digest stands at the end of an object's text."""

    end: bytes
    """What ends the object without a digest."""
    before: bytes
    """What stands in front of the digest's value."""
    after: bytes
    """What stands behind it, to the last byte."""

    def close(self, text: bytes) -> bytes:
        """The text of an object, which ends with `end`, with its digest."""
        body = text.removesuffix(self.end)
        return b"".join((body, self.before, short_digest(body).encode(), self.after))

    def check(self, data: bytes) -> None:
        """Makes sure that sealed bytes are those that were written.

        Raises:
            ValueError: They are not; the message says how.
        """
        start = len(data) - len(self.after) - DIGITS - len(self.before)
        body, joint, digest = data[: max(start, 0)], data[max(start, 0) : -len(self.after) - DIGITS], data[-len(self.after) - DIGITS :]
        if start < 0 or joint != self.before or not digest.endswith(self.after):
            raise ValueError("its digest does not stand at its end")
        found, said = short_digest(body), digest.removesuffix(self.after).decode("ascii", "replace")
        if found != said:
            raise ValueError(f"its digest says {said}, but its bytes have {found}: they are not those that were written")


LINE: Final = Seal(b"}", b',"digest":"', b'"}\n')
"""Of an object in one line, with its newline."""
FILE: Final = Seal(b"\n}", b',\n  "digest": "', b'"\n}\n')
"""Of an object that is a whole file, indented by two."""


def sealed_file(record: dict[str, Any]) -> bytes:
    """The bytes of a file that holds one object for people and programs.

    Raises:
        ValueError: The object holds what JSON cannot hold.
    """
    return FILE.close(json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False).encode())


def strict_json(data: bytes | str) -> Any:  # noqa: ANN401  any JSON value
    """The value of a JSON text, where nothing may be doubtful.

    Raises:
        ValueError: It is no UTF-8, no JSON, an object has a key twice, a number is not finite, a text is no Unicode, or lists and objects
            are nested more than `MAX_DEPTH` deep.
    """
    if isinstance(data, bytes):
        value = canonical(data)
        if value is None:
            return strict_json(data.decode())
        if data.count(b"[") + data.count(b"{") > MAX_DEPTH and nested_deeper(value, MAX_DEPTH):
            raise ValueError(_TOO_DEEP)
        return value
    try:
        value = _DECODER.decode(data)
        if "\\u" in data:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except UnicodeEncodeError:
        raise ValueError("a text holds half of a surrogate pair, which is no Unicode") from None
    if data.count("[") + data.count("{") > MAX_DEPTH and nested_deeper(value, MAX_DEPTH):
        raise ValueError(_TOO_DEEP)
    return value


def nested_deeper(value: object, most: int) -> bool:
    """Whether lists and dicts are nested more than `most` deep."""
    level: list[object] = [value]
    for _ in range(most + 1):
        inner = [each for each in level if isinstance(each, list | tuple | dict)]
        if not inner:
            return False
        level = [item for each in inner for item in (each.values() if isinstance(each, dict) else each)]
    return True


_TOO_DEEP: Final = f"lists and objects are nested more than {MAX_DEPTH} deep"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"an object has the key {twice[:80]!r} twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_float=_finite, parse_constant=_no_number)

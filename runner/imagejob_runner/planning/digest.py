"""Digests of a job's inputs: one that does not depend on their order, and one of the manifest, which does.

A listing may come in another order the next time, and a manifest may be sorted; it is the same job all the same. The manifest that was
written once says which input stands where, so that every byte of it counts.
"""

import hashlib
from typing import Any, Final

from imagejob_runner.sources import Entry

_MODULUS: Final = 1 << 256


class SourceDigest:
    """The sum, modulo 2**256, of the SHA-256 digests of all inputs. Guards against mistakes, not against forgery."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, entry: Entry) -> None:
        """Takes one input in."""
        self.count += 1
        self._sum = (self._sum + int.from_bytes(entry_digest(entry), "big")) % _MODULUS

    def component(self) -> dict[str, Any]:
        """What stands in the fingerprint."""
        return {"count": self.count, "digest": f"{self._sum:064x}"}


class ManifestDigest:
    """The sum of digests of the chunks' lines, each with its chunk's number: made in any order, and yet each line has its place."""

    def __init__(self) -> None:
        self._sum = 0

    def add(self, chunk: int, lines: bytes) -> None:
        """Takes in a chunk and the SHA-256 digest of its lines."""
        self._sum = (self._sum + int.from_bytes(hashlib.sha256(chunk.to_bytes(8, "big") + lines).digest(), "big")) % _MODULUS

    def name(self) -> str:
        """The digest's first 16 hexadecimal digits, which stand in the name of the manifest's folder."""
        return f"{self._sum:064x}"[:16]


def entry_digest(entry: Entry) -> bytes:
    """Digest of one input. NUL separates id and URL, as no URL can contain it."""
    return hashlib.sha256(entry.id.encode() + b"\0" + entry.url.encode()).digest()

"""Holds a job's inputs in a temporary file while they are counted, digested and looked through for duplicates, then in chunks.

Nothing may be written to the output before the last input has been seen, and a million inputs must not need a million objects in memory:
what stays in memory is eight bytes for each input, and the lines of one chunk. How large a chunk is may follow from the number of inputs.
"""

import hashlib
import json
import tempfile
from array import array
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from imagejob_runner.exceptions import DuplicateIdError
from imagejob_runner.planning.chunks import line_begin, line_end
from imagejob_runner.planning.digest import ManifestDigest, SourceDigest
from imagejob_runner.sources import Entry

_COPY_BYTES: Final = 1 << 20
_SHOWN: Final = 120


class Spool:
    """The inputs of a job, in manifest lines, in a temporary folder that goes with the object's context."""

    def __init__(self) -> None:
        self.digest = SourceDigest()
        self._folder = tempfile.TemporaryDirectory(prefix="imagejob-plan-")
        self._inputs = Path(self._folder.name, "inputs")
        self._chunks = Path(self._folder.name, "chunks")
        self._chunk_ends = array("Q")
        self._manifest = ManifestDigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._folder.cleanup()

    @property
    def total(self) -> int:
        """Inputs taken in."""
        return self.digest.count

    @property
    def content_id(self) -> str:
        """Digest of all lines in their chunks, as 16 hexadecimal digits: names the manifest's folder."""
        return self._manifest.name()

    async def fill(self, entries: AsyncIterator[Entry]) -> None:
        """Takes all inputs in.

        Raises:
            DuplicateIdError: Two have one id; the message names it and both places.
        """
        ids = array("Q")
        with self._inputs.open("wb") as file:
            async for entry in entries:
                file.write(line_end(entry))
                ids.append(_short_digest(entry.id))
                self.digest.add(entry)
        self._refuse_duplicates(ids)

    def divide(self, chunk_size: int) -> None:
        """Puts the inputs into chunks; done once, before `content_id` and `shard_file`.

        Args:
            chunk_size: Inputs in a chunk.
        """
        size = 0
        with self._inputs.open("rb") as source, self._chunks.open("wb") as target:
            while ends := list(islice(source, chunk_size)):
                begin = line_begin(len(self._chunk_ends))
                lines = begin + begin.join(ends)
                target.write(lines)
                self._manifest.add(len(self._chunk_ends), hashlib.sha256(lines).digest())
                size += len(lines)
                self._chunk_ends.append(size)

    def shard_file(self, shard: int, shards: int) -> Path:
        """A file with the lines of one shard's chunks. Overwritten by the next call."""
        path = Path(self._folder.name, "shard")
        with self._chunks.open("rb") as source, path.open("wb") as target:
            for chunk in range(shard, len(self._chunk_ends), shards):
                start = self._chunk_ends[chunk - 1] if chunk else 0
                source.seek(start)
                left = self._chunk_ends[chunk] - start
                while left:
                    block = source.read(min(left, _COPY_BYTES))
                    target.write(block)
                    left -= len(block)
        return path

    def _refuse_duplicates(self, ids: "array[int]") -> None:
        import numpy as np  # noqa: PLC0415  takes a tenth of a second, which whoever only reads a plan need not pay

        digests = np.frombuffer(ids, dtype=np.uint64)
        ordered = np.sort(digests)
        suspects = set(np.unique(ordered[1:][ordered[1:] == ordered[:-1]]).tolist())
        if not suspects:
            return
        # Equal digests are nearly always equal ids, but only the ids themselves decide.
        places: dict[str, int] = {}
        for position, identity in enumerate(self._ids(), 1):
            if _short_digest(identity) not in suspects:
                continue
            if identity in places:
                shown = identity if len(identity) <= _SHOWN else f"{identity[:_SHOWN]}…"
                raise DuplicateIdError(
                    f"inputs {places[identity]} and {position} of the source both have the id {shown!r}; give each input an id of its own"
                )
            places[identity] = position

    def _ids(self) -> Iterator[str]:
        with self._inputs.open("rb") as file:
            for end in file:
                yield json.loads(line_begin(0) + end)["id"]


def _short_digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")

"""The manifest in an output: one file for each shard, one line for each input, read chunk by chunk."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from imagejob_runner.exceptions import StorageError
from imagejob_runner.jsontext import quick
from imagejob_runner.planning.plan import Plan
from imagejob_runner.sealed import strict_json
from imagejob_runner.sources import Entry
from imagejob_runner.storage import OutputStore


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of inputs that is committed as one part."""

    shard: int
    """The shard that works on it."""
    index: int
    """Number of the chunk in the whole job."""
    entries: list[Entry]
    """The inputs, in the order of the source."""
    digest: bytes
    """SHA-256 of its lines in the manifest."""


def manifest_name(folder: str, shard: int) -> str:
    """Name of a shard's manifest file."""
    return f"{folder}/{shard:05d}.jsonl"


def line_begin(chunk: int) -> bytes:
    """The first part of the lines of a chunk."""
    return b'{"chunk":%d,' % chunk


def line_end(entry: Entry) -> bytes:
    """The rest of a manifest's line of an input."""
    return quick({"id": entry.id, "url": entry.url}).removeprefix(b"{") + b"\n"


async def shard_chunks(output: OutputStore, plan: Plan, shard: int) -> AsyncIterator[Chunk]:
    """The chunks of a shard, in order, read as they are asked for.

    Args:
        output: The output.
        plan: Its plan.
        shard: From 0 to `plan.shards` - 1.

    Raises:
        StorageError: The manifest cannot be read, or does not say what the plan says.
    """
    if not 0 <= shard < plan.shards:
        raise StorageError(f"there is no shard {shard}; the plan of {output.url} has shards 0 to {plan.shards - 1}")
    name = manifest_name(plan.manifest, shard)
    where = f"{output.url.rstrip('/')}/{name}"
    expected = range(shard, plan.chunks, plan.shards)
    if not expected:
        return
    numbers = iter(expected)
    current = next(numbers)
    entries: list[Entry] = []
    digest = hashlib.sha256()
    line_number = 0
    async for line in output.lines(name):
        line_number += 1
        chunk, entry = _decode_line(line, f"{where}, line {line_number}")
        if chunk != current:
            yield _whole(plan, Chunk(shard, current, entries, digest.digest()), where)
            entries, digest = [], hashlib.sha256()
            current = next(numbers, -1)
            if chunk != current:
                raise StorageError(f"{where}, line {line_number}: chunk {chunk} stands where {current} belongs; the manifest is damaged")
        entries.append(entry)
        digest.update(line)
    yield _whole(plan, Chunk(shard, current, entries, digest.digest()), where)
    if next(numbers, None) is not None:
        raise StorageError(f"{where}: the file ends after chunk {current}, before chunk {expected[-1]}; the manifest is damaged")


def _whole(plan: Plan, chunk: Chunk, where: str) -> Chunk:
    wanted = plan.chunk_total(chunk.index)
    if len(chunk.entries) != wanted:
        raise StorageError(f"{where}: chunk {chunk.index} has {len(chunk.entries)} of {wanted} inputs; the manifest is damaged")
    return chunk


def _decode_line(line: bytes, where: str) -> tuple[int, Entry]:
    try:
        record = strict_json(line)
        chunk, entry = record["chunk"], Entry(record["id"], record["url"])
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{where}: no line of a manifest ({error}); the file is damaged: use another output") from error
    if type(chunk) is not int or not isinstance(entry.id, str) or not isinstance(entry.url, str):
        raise StorageError(f"{where}: no line of a manifest: chunk is a whole number, id and url are texts; use another output")
    return chunk, entry

"""Parts: one object for each chunk, written once as a whole. Which of them exist is all that resuming needs to know."""

import re
from collections.abc import Collection
from typing import Final

from imagejob_runner.constants import RESULTS_FOLDER
from imagejob_runner.exceptions import StorageError
from imagejob_runner.output.codec import Skimmed, decode_rows, skim_rows
from imagejob_runner.planning import Plan
from imagejob_runner.rows import Row
from imagejob_runner.storage import OutputStore

_PART: Final = re.compile(rf"{RESULTS_FOLDER}/part-([0-9]{{5,}})-([0-9]{{5,}})\.(jsonl|parquet)")


def chunk_name(plan: Plan, shard: int, chunk: int) -> str:
    """Name of a chunk's part: ``results/part-SSSSS-CCCCC`` with the shard, the chunk and the format's ending."""
    return f"{RESULTS_FOLDER}/part-{shard:05d}-{chunk:05d}.{plan.format}"


def chunk_of(plan: Plan, name: str) -> int | None:
    """The chunk whose part has this name; None when no chunk of the plan has."""
    match = _PART.fullmatch(name)
    if match is None:
        return None
    chunk = int(match[2])
    return chunk if chunk < plan.chunks and chunk_name(plan, chunk % plan.shards, chunk) == name else None


async def committed_chunks(output: OutputStore, plan: Plan, shards: Collection[int] | None = None) -> set[int]:
    """The chunks that have a part: of some shards, or of all when `shards` is None."""
    found = {chunk_of(plan, name) async for name in output.names(RESULTS_FOLDER)}
    return {chunk for chunk in found if chunk is not None and (shards is None or chunk % plan.shards in shards)}


async def read_rows(output: OutputStore, plan: Plan, shard: int, chunk: int) -> list[Row]:
    """The rows of a chunk that has been committed.

    Raises:
        StorageError: The part is not there, cannot be read, or is damaged.
    """
    return decode_rows(await _read(output, plan, shard, chunk), plan.format, chunk_name(plan, shard, chunk))


async def skim_part(output: OutputStore, plan: Plan, chunk: int) -> Skimmed:
    """How the rows of a chunk ended that has been committed.

    Raises:
        StorageError: The part is not there, cannot be read, or is damaged.
    """
    shard = chunk % plan.shards
    return skim_rows(await _read(output, plan, shard, chunk), plan.format, chunk_name(plan, shard, chunk))


async def _read(output: OutputStore, plan: Plan, shard: int, chunk: int) -> bytes:
    name = chunk_name(plan, shard, chunk)
    data = await output.read(name)
    if data is None:
        raise StorageError(f"{output.url}: {name} is not there; run the job again")
    return data

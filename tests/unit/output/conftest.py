"""Outputs of small jobs, planned and partly done."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from imagejob_api.imagejob import ImageJobSpec
from imagejob_runner.audit import holds_name
from imagejob_runner.exceptions import ImageError, SkipImage
from imagejob_runner.item import ImageItem
from imagejob_runner.output import chunk_name, encode_rows, output_kinds
from imagejob_runner.planning import Chunk, Plan, plan_job, shard_chunks
from imagejob_runner.rows import Row, row_of
from imagejob_runner.storage import OutputStore, open_output

SIGNED = 8


def url_of(number: int) -> str:
    """The URL of an input; one has a signature, which stays out of rows."""
    return f"/data/{number}.jpg" if number != SIGNED else f"https://me:hunter2@host/{number}.jpg?sig=hunter2"


class DoneJob:
    """A job of 10 inputs in 4 chunks and 2 shards. Input 3 fails, input 5 is skipped."""

    def __init__(self, output: OutputStore, plan: Plan, folder: Path) -> None:
        self.output = output
        self.plan = plan
        self.folder = folder

    @staticmethod
    def row(identity: str, url: str) -> Row:
        item = ImageItem(id=identity, url=url, outputs={"x": 1})
        if identity == "3":
            return row_of(item, ImageError("NotFound", "gone"), attempts=2)
        return row_of(item, SkipImage("too dull") if identity == "5" else None)

    async def chunks(self) -> list[Chunk]:
        found = [chunk for shard in range(self.plan.shards) async for chunk in shard_chunks(self.output, self.plan, shard)]
        return sorted(found, key=lambda chunk: chunk.index)

    async def commit(self, *indexes: int) -> None:
        for chunk in await self.chunks():
            if chunk.index in indexes:
                rows = [self.row(*entry) for entry in chunk.entries]
                data = encode_rows(rows, self.plan.format, output_kinds(self.plan.pipeline))
                assert await self.output.create(chunk_name(self.plan, chunk.shard, chunk.index), data)

    def path(self, chunk: int) -> Path:
        return self.folder / chunk_name(self.plan, chunk % self.plan.shards, chunk)

    def hold(self, **changes: Any) -> bytes:  # noqa: ANN401  fields of any kind
        record = {"node": "n", "boot": "b", "limit": "gpu", "slot": 0, "fence": 1, "id": "p/1", "asked": 0.5, "start": 1.0, "end": 2.0}
        return json.dumps({**record, "busy": 1.0, "waited": True, **changes}).encode() + b"\n"

    async def write_holds(self, data: bytes, *, shard: int = 0, run: str = "run", number: int = 1) -> str:
        name = holds_name(shard, run, number, data)
        assert await self.output.create(name, data)
        return name


@pytest.fixture(params=["jsonl", "parquet"])
async def done(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Awaitable[DoneJob]]:
    async def make(*, commit: bool = True) -> DoneJob:
        spec = ImageJobSpec.model_validate(
            {
                "source": {"urls": [{"id": str(number), "url": url_of(number)} for number in range(10)]},
                "pipeline": {"steps": [{"name": "count", "call": {"function": "a:b"}}]},
                "output": {"url": str(tmp_path / "out"), "format": request.param},
                "chunkSize": 3,
            }
        )
        assert spec.pipeline is not None
        output = open_output(spec.output.url)
        plan = await plan_job(spec, spec.pipeline, output, name="job", default_shards=2)
        job = DoneJob(output, plan, tmp_path / "out")
        if commit:
            await job.commit(0, 1, 2, 3)
        return job

    return make

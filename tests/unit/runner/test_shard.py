"""The shards of a process: what is in the output at which moment."""

import asyncio
import json
from itertools import count
from pathlib import Path

import pytest

from imagejob_api.imagejob import ImageJobSpec
from imagejob_runner import shard
from imagejob_runner.constants import HOLDS_FOLDER
from imagejob_runner.item import ImageItem
from imagejob_runner.pipeline.engine import EngineSettings
from imagejob_runner.pipeline.turn import now
from imagejob_runner.planning import plan_job
from imagejob_runner.shard import ShardRequest, ShardRun
from imagejob_runner.storage import open_output
from tests.unit.pipeline.levers import step, until


class WantedSlot:
    """A slot that somebody else always wants."""

    fences = count(1)

    def __init__(self, limit: str) -> None:
        self.limit, self.asked_at, self.fence = limit, now(), next(self.fences)
        self.id, self.slots, self.waited, self.valid, self.contended = f"me-{self.fence}", (0,), True, True, True

    async def wait_contended(self) -> None:
        """It is already."""

    async def release(self) -> None:
        """The other one has it now."""

    async def pass_on(self) -> "WantedSlot":
        return WantedSlot(self.limit)


class WantedSlots:
    """A limiter of such slots."""

    async def acquire(self, limit: str, *, slots: int, priority: int) -> WantedSlot:
        del slots, priority
        return WantedSlot(limit)


@pytest.mark.parametrize(("seconds", "files"), [(shard.HOLDS_SECONDS, 2), (shard.HOLDS_SECONDS / 2, 1)])
async def test_holds_are_written_with_the_chunks_but_not_with_each_of_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, files: int
) -> None:
    begun: list[str] = []

    async def work(item: ImageItem) -> None:
        begun.append(item.id)
        if item.id == "4":
            await asyncio.Event().wait()

    spec = ImageJobSpec.model_validate(
        {
            "source": {"urls": [{"id": str(number), "url": f"/{number}.jpg"} for number in range(5)]},
            "pipeline": {"steps": [step("work", work, limits=("alpha",), hold="0s")]},
            "output": {"url": str(tmp_path / "out")},
            "chunkSize": 2,
        }
    )
    assert spec.pipeline is not None
    await plan_job(spec, spec.pipeline, open_output(spec.output.url), name="job", default_shards=1)
    # Its time stands still, but for a step between the commits.
    times = count(0.0, seconds)
    monkeypatch.setattr(shard, "now", lambda: next(times))
    request = ShardRequest(spec.output.url, (0,), spec.pipeline, retry_failed=False, run_id="run", settings=EngineSettings(cpus=1))
    running = asyncio.create_task(ShardRun(request, WantedSlots()).run())
    written = tmp_path / "out" / HOLDS_FOLDER

    def holds() -> list[int]:
        return [len(file.read_text().splitlines()) for file in sorted(written.glob("0*.jsonl"))]

    try:
        await until(lambda: sum(holds()) == 4 and "4" in begun, within=5)
        assert len(holds()) == files, "the last image never ends"
        for file in written.glob("0*.jsonl"):
            assert all(json.loads(line)["limit"] == "alpha" for line in file.read_text().splitlines())
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

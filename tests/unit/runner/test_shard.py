"""The shards of a process: what is in the output at which moment."""

import asyncio
import json
from itertools import count
from pathlib import Path

import pytest
import torch

from imagejob_api.imagejob import ImageJobSpec
from imagejob_runner import shard
from imagejob_runner.constants import HOLDS_FOLDER
from imagejob_runner.exceptions import ModelError
from imagejob_runner.item import ImageItem
from imagejob_runner.pipeline.engine import EngineSettings
from imagejob_runner.planning import plan_job, planned_models
from imagejob_runner.shard import ShardRequest, ShardRun
from imagejob_runner.storage import open_output
from tests.tools.networks import Tiny
from tests.tools.slots import WantedSlots
from tests.unit.pipeline.levers import step, until


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
    request = ShardRequest(spec.output.url, (0,), spec.pipeline, {}, retry_failed=False, run_id="run", settings=EngineSettings(cpus=1))
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


async def test_a_model_that_was_changed_after_planning_is_refused(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    torch.save(Tiny().state_dict(), weights)
    infer = {
        "model": {"architecture": "tests.tools.networks:Tiny", "weights": str(weights)},
        "preprocess": {"size": 16},
        "device": "cpu",
        "outputs": {"embedding": "raw"},
    }
    spec = ImageJobSpec.model_validate(
        {
            "source": {"urls": [{"id": "0", "url": "/0.jpg"}]},
            "pipeline": {"steps": [{"name": "download", "download": {}}, {"name": "classify", "infer": infer}]},
            "output": {"url": str(tmp_path / "out")},
        }
    )
    assert spec.pipeline is not None
    plan = await plan_job(spec, spec.pipeline, open_output(spec.output.url), name="job", default_shards=1)
    models = planned_models(plan.components)
    request = ShardRequest(spec.output.url, (0,), spec.pipeline, models, retry_failed=False, run_id="run", settings=EngineSettings(cpus=1))
    torch.save({name: value + 1 for name, value in Tiny().state_dict().items()}, weights)
    with pytest.raises(ModelError, match=f"but the output was planned with {models['classify'].sha256}; rows of both would stand"):
        await ShardRun(request, None).run()

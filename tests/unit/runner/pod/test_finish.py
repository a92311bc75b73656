"""The end of a job: told by whoever finds all rows, and believed to be missing rows only after a while."""

import asyncio
from pathlib import Path

import pytest

from imagejob_api.pod import JobFile, SummaryReport
from imagejob_runner.constants import SUMMARY_FILE
from imagejob_runner.item import ImageItem
from imagejob_runner.output import chunk_name, encode_rows
from imagejob_runner.planning import Plan, shard_chunks
from imagejob_runner.pod import finish as finish_module
from imagejob_runner.pod.context import Context
from imagejob_runner.pod.environment import PodEnvironment
from imagejob_runner.pod.finish import finish
from imagejob_runner.pod.job import make_plan
from imagejob_runner.pod.stopping import Stop
from imagejob_runner.rows import row_of
from imagejob_runner.storage import OutputStore, open_output

IMAGES = 10


@pytest.fixture
def context(tmp_path: Path) -> Context:
    steps = {"steps": [{"name": "call", "call": {"function": "imagejob_runner.rows:row_of"}}]}
    urls = [{"id": str(number), "url": f"file:///{number}"} for number in range(IMAGES)]
    spec = {"source": {"urls": urls}, "pipelineRef": {"name": "steps"}, "output": {"url": str(tmp_path / "out")}, "chunkSize": 4}
    job = JobFile.model_validate({"name": "job", "namespace": "team", "uid": "u", "spec": spec, "pipeline": steps})
    return Context(job, PodEnvironment(), Stop())


async def planned(context: Context) -> tuple[OutputStore, Plan]:
    output = open_output(context.job.spec.output.url)
    return output, await make_plan(context.job, output)


async def commit(output: OutputStore, plan: Plan, *, but: int | None = None) -> None:
    for shard in range(plan.shards):
        async for chunk in shard_chunks(output, plan, shard):
            if chunk.index != but:
                rows = [row_of(ImageItem(id=entry.id, url=entry.url)) for entry in chunk.entries]
                await output.create(chunk_name(plan, shard, chunk.index), encode_rows(rows, plan.format))


async def test_a_job_with_all_rows_is_completed(context: Context) -> None:
    output, plan = await planned(context)
    await commit(output, plan)
    await finish(context)
    assert context.result.summary == SummaryReport(total=IMAGES, succeeded=IMAGES, failed=0, skipped=0, within_policy=True)
    assert await output.read(SUMMARY_FILE) is not None


async def test_rows_that_are_missing_for_good_are_told_and_nothing_is_written(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finish_module, "PATIENCE_SECONDS", 0.0)
    output, plan = await planned(context)
    await commit(output, plan, but=1)
    await finish(context)
    assert context.result.summary == SummaryReport(total=IMAGES, succeeded=IMAGES - 4, failed=0, skipped=0, within_policy=True)
    assert await output.read(SUMMARY_FILE) is None


async def test_rows_that_are_seen_late_are_waited_for(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finish_module, "LOOK_AGAIN_SECONDS", 0.01)
    output, plan = await planned(context)
    await commit(output, plan, but=1)
    looked, sleep = asyncio.Event(), asyncio.sleep

    async def sleeping(seconds: float) -> None:
        looked.set()
        await sleep(seconds)

    monkeypatch.setattr(finish_module.asyncio, "sleep", sleeping)
    finishing = asyncio.create_task(finish(context))
    async with asyncio.timeout(30):
        await looked.wait()
        await commit(output, plan)
        await finishing
    assert context.result.summary == SummaryReport(total=IMAGES, succeeded=IMAGES, failed=0, skipped=0, within_policy=True)

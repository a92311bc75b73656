"""The shards of a process: what is in the output at which moment."""

import asyncio
import json
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch

from imagejob_api.imagejob import FailurePolicy, ImageJobSpec
from imagejob_runner import shard
from imagejob_runner.constants import HOLDS_FOLDER
from imagejob_runner.exceptions import ImageError, ModelError, StorageError
from imagejob_runner.item import ImageItem
from imagejob_runner.output import finalize, read_rows, verify
from imagejob_runner.pipeline.engine import EngineSettings
from imagejob_runner.planning import plan_job, planned_models, read_plan
from imagejob_runner.shard import ShardRequest, ShardRun
from imagejob_runner.storage import LocalOutput, open_output
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
        if item.id == "2" and files == 2:
            await until(lambda: holds() == [2])
        elif item.id == "4":
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


@pytest.mark.parametrize("lost", [False, True])
async def test_audit_records_that_could_not_be_written_are_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, lost: bool
) -> None:
    async def work(_: ImageItem) -> None:
        pass

    spec = ImageJobSpec.model_validate(
        {
            "source": {"urls": [{"id": str(number), "url": f"/{number}.jpg"} for number in range(3)]},
            "pipeline": {"steps": [step("work", work, limits=("alpha",), hold="0s")]},
            "output": {"url": str(tmp_path / "out")},
            "chunkSize": 1,
        }
    )
    assert spec.pipeline is not None
    output = open_output(spec.output.url)
    plan = await plan_job(spec, spec.pipeline, output, name="job", default_shards=1)
    times = count(0.0, shard.HOLDS_SECONDS)
    monkeypatch.setattr(shard, "now", lambda: next(times))
    create, broken = LocalOutput.create, True

    async def create_once_away(self: LocalOutput, name: str, data: bytes) -> bool:
        nonlocal broken
        if not (broken and name.startswith(HOLDS_FOLDER)):
            return await create(self, name, data)
        broken = False
        if lost:
            await create(self, name, data)
        raise StorageError("away for a moment")

    monkeypatch.setattr(LocalOutput, "create", create_once_away)
    request = ShardRequest(spec.output.url, (0,), spec.pipeline, {}, retry_failed=False, run_id="run", settings=EngineSettings(cpus=1))
    run = ShardRun(request, WantedSlots())
    with pytest.raises(StorageError, match="away for a moment"):
        await run.run()
    again = ShardRun(replace(request, run_id="again"), WantedSlots())
    await again.run()
    await finalize(output, plan, FailurePolicy())
    report = await verify(output)
    assert report.problems == []
    assert report.holds.records == len(run.take_holds()) + len(again.take_holds()) > 0, "each hold is written, and once"


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


class Retried:
    """A job of three images in one chunk. Image 0 is always well; whether the others are, each run says."""

    def __init__(self, folder: Path) -> None:
        self.spec = ImageJobSpec.model_validate(
            {
                "source": {"urls": [{"id": str(number), "url": f"/{number}.jpg"} for number in range(3)]},
                "pipeline": {"steps": [step("work", self._work)]},
                "output": {"url": str(folder / "out")},
            }
        )
        self.output = open_output(self.spec.output.url)
        self.fails: set[str] = set()
        self.wait: dict[str, asyncio.Event] = {}
        self.why = "dark"

    async def _work(self, item: ImageItem) -> str:
        fails, why, wait = item.id in self.fails, self.why, self.wait
        if item.id in wait:
            wait[item.id].set()
            await wait["go"].wait()
        if fails:
            raise ImageError("TooDark", why)
        return why

    async def run(self, *fails: str, retry: bool = True, why: str = "again") -> ShardRun:
        self.fails, self.why = set(fails), why
        assert self.spec.pipeline is not None
        request = ShardRequest(
            self.spec.output.url, (0,), self.spec.pipeline, {}, retry_failed=retry, run_id="run", settings=EngineSettings(cpus=1)
        )
        run = ShardRun(request, None)
        await run.run()
        return run

    async def rows(self) -> list[str]:
        rows = await read_rows(self.output, await read_plan(self.output), 0, 0)
        return [row["error"]["message"] if row["error"] else row["outputs"]["work"] for row in rows]

    async def late(self, *fails: str, why: str = "late") -> tuple[asyncio.Task[ShardRun], asyncio.Event]:
        """A run that has read the part and begun on images 1 and 2, and goes on when it is told."""
        begun = {"1": asyncio.Event(), "2": asyncio.Event()}
        go = asyncio.Event()
        self.wait = {**begun, "go": go}
        task = asyncio.create_task(self.run(*fails, why=why))
        await asyncio.gather(*(event.wait() for event in begun.values()))
        self.wait = {}
        return task, go


@pytest.fixture
async def retried(tmp_path: Path) -> Retried:
    job = Retried(tmp_path)
    assert job.spec.pipeline is not None
    await plan_job(job.spec, job.spec.pipeline, job.output, name="job", default_shards=1)
    await job.run("1", "2", retry=False, why="first")
    assert await job.rows() == ["first", "first", "first"]
    return job


async def test_rows_that_failed_are_done_again(retried: Retried) -> None:
    run = await retried.run("2", why="second")
    assert await retried.rows() == ["first", "second", "second"]
    assert run.engine.progress.committed == {("ok", ""): 1, ("failed", "TooDark"): 1}


async def test_a_late_run_turns_no_success_into_a_failure(retried: Retried) -> None:
    late, go = await retried.late("1", "2")
    await retried.run("2", why="successor")
    assert await retried.rows() == ["first", "successor", "successor"]
    go.set()
    run = await late
    assert await retried.rows() == ["first", "successor", "late"], "image 2 failed before and fails again"
    assert run.engine.progress.committed == {("ok", ""): 1, ("failed", "TooDark"): 1}, "what counts is what stands"


async def test_a_late_run_changes_no_output_that_another_has_completed(retried: Retried) -> None:
    late, go = await retried.late("2")
    await retried.run("1", "2", why="successor")
    await finalize(retried.output, await read_plan(retried.output), FailurePolicy(max_failure_rate=1))
    go.set()
    run = await late
    assert await retried.rows() == ["first", "successor", "successor"]
    assert run.engine.progress.committed == {("failed", "TooDark"): 2}
    report = await verify(retried.output)
    assert report.ok, report.problems


async def test_a_part_that_others_change_all_the_time(retried: Retried, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> bool:
        return False

    monkeypatch.setattr(LocalOutput, "exchange", never)
    with pytest.raises(StorageError, match=r"part-00000-00000.jsonl was changed by others 8 times"):
        await retried.run()

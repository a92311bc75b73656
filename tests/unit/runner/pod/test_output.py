"""A pod whose output is away says so, on its annotation, and when it is back."""

from pathlib import Path

import pytest

from imagejob_api.pod import ANNOTATION_PROGRESS, JobFile, PodProgress, RunnerExit
from imagejob_runner.exceptions import StorageAwayError, StorageError, StorageRefusedError
from imagejob_runner.pod import output as output_module
from imagejob_runner.pod.context import Context
from imagejob_runner.pod.environment import PodEnvironment
from imagejob_runner.pod.exits import exit_of
from imagejob_runner.pod.output import writable_output
from imagejob_runner.pod.stopping import Stop
from imagejob_runner.storage import LocalOutput, writable


class Target:
    """Takes reports."""

    def __init__(self) -> None:
        self.taken: list[PodProgress] = []
        self.closed = False

    async def annotate(self, key: str, value: str) -> None:
        assert key == ANNOTATION_PROGRESS
        self.taken.append(PodProgress.model_validate_json(value))

    async def close(self) -> None:
        self.closed = True


def context_of(folder: Path) -> Context:
    spec = {"source": {"urls": [{"url": "/a.jpg"}]}, "pipelineRef": {"name": "steps"}, "output": {"url": str(folder)}}
    steps = {"steps": [{"name": "download", "download": {}}]}
    job = JobFile.model_validate({"name": "job", "namespace": "team", "uid": "uid", "spec": spec, "pipeline": steps})
    return Context(job, PodEnvironment(progress_seconds=5.0), Stop())


async def test_what_is_away_is_told_once_and_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, ends = Target(), [StorageAwayError("no answer"), StorageAwayError("no answer"), None]

    async def check(_self: LocalOutput) -> None:
        if (end := ends.pop(0)) is not None:
            raise end

    monkeypatch.setattr(LocalOutput, "check", check)
    monkeypatch.setattr(output_module, "own_pod", lambda _pod: target)
    monkeypatch.setattr(writable, "FIRST_PAUSE_SECONDS", 0.001)
    context = context_of(tmp_path)
    output = await writable_output(context, planned=False)
    assert output.url == str(tmp_path)
    assert [report.storage for report in target.taken] == ["no answer", None]
    assert target.closed


@pytest.mark.parametrize(
    ("planned", "plan", "ends_the_job"),
    [(False, None, True), (False, StorageError("denied"), True), (False, b"{}", False), (True, None, False)],
    ids=["new", "nothing to be read", "planned by another pod", "planned before"],
)
async def test_a_refusal_ends_the_job_only_before_it_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, planned: bool, plan: bytes | StorageError | None, ends_the_job: bool
) -> None:
    async def check(_self: LocalOutput) -> None:
        raise StorageRefusedError("the key is unknown")

    async def read(_self: LocalOutput, _name: str) -> bytes | None:
        if isinstance(plan, StorageError):
            raise plan
        return plan

    monkeypatch.setattr(LocalOutput, "check", check)
    monkeypatch.setattr(LocalOutput, "read", read)
    with pytest.raises(StorageError, match="the key is unknown") as error:
        await writable_output(context_of(tmp_path), planned=planned)
    assert exit_of(error.value) is (RunnerExit.STORAGE_REFUSED if ends_the_job else RunnerExit.STORAGE)

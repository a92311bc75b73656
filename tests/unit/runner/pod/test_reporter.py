"""Reports of progress: when, and what a refusal does."""

import asyncio

import pytest

from imagejob_api.pod import ANNOTATION_PROGRESS, PodImages, PodProgress
from imagejob_runner.pod import reporter as reporter_module
from imagejob_runner.pod.environment import PodEnvironment
from imagejob_runner.pod.own_pod import ReportError
from imagejob_runner.pod.reporter import Reporter, own_pod


class Target:
    """Takes reports, or refuses them."""

    def __init__(self) -> None:
        self.taken: list[PodProgress] = []
        self.refuses: ReportError | None = None
        self.asked = asyncio.Event()
        self.times = 0
        self.closed = False

    async def annotate(self, key: str, value: str) -> None:
        assert key == ANNOTATION_PROGRESS
        self.times += 1
        self.asked.set()
        if self.refuses is not None:
            raise self.refuses
        self.taken.append(PodProgress.model_validate_json(value))

    async def close(self) -> None:
        self.closed = True


class Pod:
    """Something to report on."""

    def __init__(self) -> None:
        self.done = 0
        self.looks: asyncio.Queue[int] = asyncio.Queue()

    def progress(self) -> PodProgress:
        self.looks.put_nowait(self.done)
        return PodProgress(images=PodImages(succeeded=self.done))


async def asked(target: Target) -> None:
    async with asyncio.timeout(10):
        await target.asked.wait()
    target.asked.clear()


async def test_the_first_report_is_made_at_once_and_the_next_when_something_has_changed() -> None:
    target, pod = Target(), Pod()
    running = asyncio.create_task(Reporter(target, 0.01, pod.progress).run())
    await asked(target)
    for _ in range(5):
        await asyncio.wait_for(pod.looks.get(), 10)
    assert target.times == 1, "nothing has changed"
    pod.done = 7
    await asked(target)
    running.cancel()
    assert [report.images.succeeded for report in target.taken] == [0, 7]


async def test_no_report_is_made_before_its_time_but_the_last_one() -> None:
    target, pod = Target(), Pod()
    reporter = Reporter(target, 3600, pod.progress)
    running = asyncio.create_task(reporter.run())
    await asked(target)
    pod.done = 7
    assert not pod.looks.get_nowait()
    running.cancel()
    assert pod.looks.empty(), "nobody looks before the time has come"
    await reporter.close()
    assert [report.images.succeeded for report in target.taken] == [0, 7]
    assert target.closed


async def test_a_refusal_is_said_once_and_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    target, pod = Target(), Pod()
    target.refuses = ReportError("PATCH /api/v1/…: 403: forbidden")
    reporter = Reporter(target, 0.01, pod.progress)
    running = asyncio.create_task(reporter.run())
    for _ in range(3):
        await asked(target)
    target.refuses = None
    await asked(target)
    running.cancel()
    await reporter.close()
    assert caplog.text.count("403: forbidden") == 1
    assert len(target.taken) == 1, "what was refused is tried again until it is taken, and then it is not"


async def test_a_busy_api_server_is_left_alone_for_as_long_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    target, pauses = Target(), asyncio.Queue[float](1)
    target.refuses = ReportError("429", pause=90)
    monkeypatch.setattr(reporter_module.asyncio, "sleep", pauses.put)
    running = asyncio.create_task(Reporter(target, 10, Pod().progress).run())
    assert await asyncio.wait_for(pauses.get(), 10) == 90
    target.refuses = None
    while (pause := await asyncio.wait_for(pauses.get(), 10)) == 90:
        pass
    running.cancel()
    assert pause == 10


async def test_where_there_is_no_pod_there_is_nothing_to_report_on() -> None:
    assert own_pod(PodEnvironment()) is None
    reporter = Reporter(None, 0.01, Pod().progress)
    async with asyncio.timeout(5):
        await reporter.run()
        await reporter.close()


async def test_a_pod_whose_token_stays_unknown_is_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter_module, "UNKNOWN_SECONDS", 0.1)
    target, pod, asked_to_end = Target(), Pod(), asyncio.Event()
    target.refuses = ReportError("Unauthorized", unknown=True)
    running = asyncio.create_task(Reporter(target, 0.01, pod.progress, asked_to_end.set).run())
    await asyncio.wait_for(asked_to_end.wait(), 10)
    running.cancel()


async def test_a_token_that_is_unknown_for_a_moment_or_a_right_that_is_missing_ends_no_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    time = [0.0]
    monkeypatch.setattr(reporter_module, "now", lambda: time[0])
    target, pod, ends = Target(), Pod(), []
    reporter = Reporter(target, 3600, pod.progress, lambda: ends.append(True))
    for refuses in (True, True, False, True, True):
        target.refuses = ReportError("no", unknown=refuses)
        await reporter.close()
        time[0] += reporter_module.UNKNOWN_SECONDS - 1
    assert not ends
    await reporter.close()
    assert ends

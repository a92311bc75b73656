"""The logs of several pods together, on a cluster in memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import pytest

from imagejob_cli.cluster import log_stream
from imagejob_cli.cluster.api import Api, Listing
from imagejob_cli.cluster.exceptions import ForbiddenError, NotFoundError, UnreachableError
from imagejob_cli.cluster.job import JobView
from imagejob_cli.cluster.log_following import LogRequest, follow_logs, print_logs
from imagejob_cli.cluster.pods import Wanted
from imagejob_cli.cluster.resources import IMAGE_JOB, Resource
from tests.unit.cli.cluster.conftest import until
from tests.unit.cli.cluster.test_pods import FAILED, RUNNING, pod
from tests.unit.cli.cluster.views import Json, condition

JOB: Json = {"metadata": {"name": "demo", "namespace": "team", "resourceVersion": "1"}, "spec": {}, "status": {"phase": "Running"}}
FINISHED: Json = {**JOB, "status": {"phase": "Succeeded", "conditions": [condition("Finished", "Succeeded")]}}


class Cluster:
    """What `Api` says of one job and its pods."""

    def __init__(self, *pods: Json, job: Json = JOB) -> None:
        self.pods = {found["metadata"]["name"]: found for found in pods}
        self.job = job
        self.logs: dict[str, asyncio.Queue[bytes | Exception | None]] = {}
        self._watches: list[tuple[Resource, asyncio.Queue[tuple[str, Json]]]] = []

    async def list(self, resource: Resource, _namespace: str, _selectors: Mapping[str, str]) -> Listing:
        return Listing([self.job] if resource == IMAGE_JOB else list(self.pods.values()), "1")

    async def get(self, _resource: Resource, _namespace: str, name: str) -> Json:
        return self.pods[name]

    async def watch(self, resource: Resource, *_: object) -> AsyncIterator[tuple[str, Json]]:
        queue: asyncio.Queue[tuple[str, Json]] = asyncio.Queue()
        self._watches.append((resource, queue))
        while True:
            yield await queue.get()

    async def log(self, _namespace: str, name: str, _query: Mapping[str, str]) -> AsyncIterator[bytes]:
        queue = self.logs.setdefault(name, asyncio.Queue())
        while (line := await queue.get()) is not None:
            if isinstance(line, Exception):
                raise line
            yield b"2026-05-04T10:00:00Z " + line

    def say(self, name: str, *lines: bytes | Exception | None) -> None:
        for line in lines:
            self.logs.setdefault(name, asyncio.Queue()).put_nowait(line)

    def put_pod(self, found: Json) -> None:
        self.pods[found["metadata"]["name"]] = found
        self._tell(False, ("MODIFIED", found))

    def put_job(self, found: Json, kind: str = "MODIFIED") -> None:
        self.job = found
        self._tell(True, (kind, found))

    def _tell(self, job: bool, event: tuple[str, Json]) -> None:  # noqa: FBT001  of two kinds
        for resource, queue in self._watches:
            if (resource == IMAGE_JOB) == job:
                queue.put_nowait(event)

    @property
    def watched(self) -> bool:
        return len(self._watches) == 2


class Output:
    """What was printed."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.notes: list[str] = []

    def request(self, wanted: Wanted | None = None) -> LogRequest:
        return LogRequest(
            job=JobView.of(JOB),
            wanted=wanted or Wanted(),
            tail=None,
            emit=lambda name, line: self.lines.append((name, line)),
            say=self.notes.append,
        )


def api(cluster: Cluster) -> Api:
    return cast("Api", cluster)


def work(name: str, state: Json | None = None, **status: Any) -> Json:  # noqa: ANN401  JSON
    return pod(name, index=0, state=state, **status)


async def test_pods_that_come_are_followed_until_the_job_is_finished() -> None:
    cluster, output = Cluster(work("a", RUNNING)), Output()
    task = asyncio.create_task(follow_logs(api(cluster), output.request()))
    await until(lambda: cluster.watched)
    cluster.say("a", b"one")
    await until(lambda: output.lines == [("a", "one")])
    cluster.put_pod(work("b", {"waiting": {"reason": "ContainerCreating"}}, phase="Pending"))
    await until(lambda: output.notes == ["b has not started: ContainerCreating"])
    cluster.put_pod(work("b", RUNNING))
    cluster.say("b", b"two")
    await until(lambda: ("b", "two") in output.lines)
    cluster.put_pod(work("a", FAILED))
    cluster.put_pod(work("b", FAILED))
    cluster.put_job(FINISHED)
    cluster.say("a", None)
    cluster.say("b", b"last", None)
    async with asyncio.timeout(20):
        await task
    assert output.lines[-1] == ("b", "last")
    assert output.notes == ["b has not started: ContainerCreating"]


async def test_a_deleted_job_ends_it() -> None:
    cluster, output = Cluster(work("a", FAILED)), Output()
    cluster.say("a", b"one", NotFoundError("the pod is gone"))
    task = asyncio.create_task(follow_logs(api(cluster), output.request()))
    await until(lambda: cluster.watched)
    cluster.put_job(JOB, "DELETED")
    async with asyncio.timeout(20):
        await task
    assert output.lines == [("a", "one")]


async def test_a_finished_job_is_read_to_the_end_at_once() -> None:
    cluster, output = Cluster(work("a", FAILED), work("b", FAILED), job=FINISHED), Output()
    cluster.say("a", b"one", None)
    cluster.say("b", b"two", None)
    async with asyncio.timeout(20):
        await follow_logs(api(cluster), output.request())
    assert sorted(output.lines) == [("a", "one"), ("b", "two")]


async def test_a_log_that_is_given_up_is_said_and_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_stream, "RETRY_FIRST_SECONDS", 0.0)
    cluster, output = Cluster(work("a", FAILED), work("b", FAILED), job=FINISHED), Output()
    cluster.say("a", *5 * [UnreachableError("nobody answers")])
    cluster.say("b", b"two", None)
    async with asyncio.timeout(20):
        await follow_logs(api(cluster), output.request())
    assert output.lines == [("b", "two")]
    assert output.notes == ["a: nobody answers. Trying again.", "a: the rest of its log cannot be read: nobody answers"]


async def test_a_missing_right_ends_it_with_the_error() -> None:
    cluster, output = Cluster(work("a", RUNNING)), Output()
    cluster.say("a", ForbiddenError("ada may not get pods/log"))
    with pytest.raises(ForbiddenError, match="ada may not"):
        await follow_logs(api(cluster), output.request())
    cluster.say("a", ForbiddenError("ada may not get pods/log"))
    with pytest.raises(ForbiddenError, match="ada may not"):
        await print_logs(api(cluster), output.request())


async def test_only_the_pods_that_are_asked_for() -> None:
    cluster, output = Cluster(work("a", RUNNING), work("b", FAILED, phase="Failed"), job=FINISHED), Output()
    cluster.say("b", b"boom", None)
    async with asyncio.timeout(20):
        await follow_logs(api(cluster), output.request(Wanted(failed=True)))
    assert output.lines == [("b", "boom")]


async def test_printing_goes_on_with_the_next_pod_when_one_has_gone() -> None:
    cluster, output = Cluster(work("a", FAILED), work("b", FAILED), work("c", phase="Failed", reason="Evicted")), Output()
    cluster.say("a", NotFoundError("there is no Pod a"))
    cluster.say("b", b"two", None)
    await print_logs(api(cluster), output.request())
    assert output.lines == [("b", "two")]
    assert output.notes == ["a: there is no Pod a", "c has no log: Evicted"]


async def test_without_pods_the_reason_is_said() -> None:
    output = Output()
    await print_logs(api(Cluster()), output.request())
    assert output.notes == ["demo has no pods now, and logs go with their pods."]

"""What others do to a job that runs: they delete what was made for it, and its pods say one thing and then another."""

import asyncio
import copy
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from imagejob_api.constants import MAX_OBJECT_CHARACTERS
from imagejob_api.pod import PodProgress
from imagejob_operator.imagejobs.made import MadeObjects
from imagejob_operator.imagejobs.pace import AT_ONCE
from imagejob_operator.kubernetes.kinds import CONFIG_MAP, IMAGE_PIPELINE, ROLE_BINDING, SERVICE_ACCOUNT
from tests.unit.operator.imagejobs.builders import NAMESPACE, SETTINGS, image_job, image_pipeline
from tests.unit.operator.imagejobs.fake_cluster import FakeCluster, FakeOperator, Key
from tests.unit.operator.imagejobs.test_lives import condition, run, status_of, step, work

Json = dict[str, Any]

BY_NAME = image_job(pipeline=None, pipelineRef={"name": "classify"})
MADE: list[Key] = [
    (CONFIG_MAP.plural, NAMESPACE, "flowers"),
    (SERVICE_ACCOUNT.plural, NAMESPACE, "imagejob-runner"),
    (ROLE_BINDING.plural, NAMESPACE, "imagejob-runner"),
    (ROLE_BINDING.plural, "imagejob-system", f"imagejob-runner.{NAMESPACE}"),
]


@asynccontextmanager
async def watching(operator: FakeOperator, key: Key, thing: Json) -> AsyncIterator[asyncio.Event]:
    """The watches over what is made; when the event is set they tell that an object is gone, and when it is clear they have told."""
    gone, told = asyncio.Event(), asyncio.Event()

    async def stream(path: str, _query: Mapping[str, str], _silent_seconds: float) -> AsyncIterator[bytes]:
        if path.endswith(f"/{key[0]}"):
            yield json.dumps({"type": "ADDED", "object": {"metadata": thing["metadata"]}}).encode()
            told.set()
            await gone.wait()
            yield json.dumps({"type": "DELETED", "object": {"metadata": thing["metadata"]}}).encode()
            gone.clear()
        await asyncio.Event().wait()

    made = MadeObjects(stream, SETTINGS, operator.controller, lambda queued: operator._queued.setdefault((queued[1], queued[2])))
    following = asyncio.create_task(made.follow())
    try:
        await asyncio.wait_for(told.wait(), 10)
        await operator.settle()  # what may have been missed before the watches began has been looked for
        yield gone
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def delete(cluster: FakeCluster, operator: FakeOperator, key: Key) -> Json:
    """Somebody deletes an object, and the operator does what it does about that; returns the object."""
    thing = copy.deepcopy(cluster.objects[key])
    async with watching(operator, key, thing) as gone:
        del cluster.objects[key]
        gone.set()
        async with asyncio.timeout(10):
            while gone.is_set():  # noqa: ASYNC110  it is the stream that clears it
                await asyncio.sleep(0)
        await operator.settle()
    return thing


@pytest.mark.parametrize("key", MADE, ids="/".join)
def test_what_was_made_for_pods_is_made_again_when_it_is_deleted(key: Key) -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        cluster.create(IMAGE_PIPELINE, image_pipeline())
        await step(cluster, operator)
        cluster.start_pods()
        await step(cluster, operator)
        uid = cluster.objects["jobs", NAMESPACE, "flowers"]["metadata"]["uid"]
        changed = image_pipeline(steps=[{"name": "other", "download": {}}])
        cluster.objects[IMAGE_PIPELINE.plural, NAMESPACE, "classify"]["spec"] = changed["spec"]
        before = await delete(cluster, operator, key)

        again = cluster.objects[key]
        assert {name: again[name] for name in again if name != "metadata"} == {name: before[name] for name in before if name != "metadata"}
        assert cluster.objects["jobs", NAMESPACE, "flowers"]["metadata"]["uid"] == uid, "the pods that run go on"
        await work(cluster, operator)
        assert status_of(cluster)["phase"] == "Succeeded"

    run(scenario, copy.deepcopy(BY_NAME))


@pytest.mark.parametrize("key", MADE, ids="/".join)
def test_what_was_deleted_while_no_operator_ran_is_made_again(key: Key) -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        cluster.start_pods()
        await step(cluster, operator)
        before = cluster.objects.pop(key)
        await FakeOperator(cluster).settle()
        again = cluster.objects[key]
        assert {name: again[name] for name in again if name != "metadata"} == {name: before[name] for name in before if name != "metadata"}

    run(scenario)


@pytest.mark.parametrize(
    ("watch", "looked_at"),
    [
        (CONFIG_MAP.path(NAMESPACE), True),
        (SERVICE_ACCOUNT.path(NAMESPACE), True),
        (ROLE_BINDING.path("imagejob-system"), True),
        (CONFIG_MAP.path("team-b"), False),
        (ROLE_BINDING.path("team-b"), False),
    ],
)
def test_a_watch_that_begins_anew_is_about_its_own_namespace_and_kind(watch: str, *, looked_at: bool) -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        looked: list[Key] = []
        told = asyncio.Event()

        async def stream(path: str, _query: Mapping[str, str], _silent_seconds: float) -> AsyncIterator[bytes]:
            if path == watch:
                yield json.dumps({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "1"}}}).encode()
                told.set()
            await asyncio.Event().wait()

        made = MadeObjects(stream, replace(SETTINGS, watch_namespaces=(NAMESPACE, "team-b")), operator.controller, looked.append)
        following = asyncio.create_task(made.follow())
        await asyncio.wait_for(told.wait(), 10)
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        assert bool(looked) is looked_at

    run(scenario)


def test_a_deletion_after_the_end_is_nobodys_business() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await work(cluster, operator)
        await operator.look_again()
        for key in MADE:
            await delete(cluster, operator, key)
        assert not set(MADE) & set(cluster.objects)

    run(scenario)


def test_a_job_that_ended_under_an_older_operator_is_told_its_reason_once() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await work(cluster, operator)
        before = copy.deepcopy(status_of(cluster))
        assert status_of(cluster).pop("reason")
        await FakeOperator(cluster).settle()
        assert status_of(cluster) == before
        version = cluster.objects["imagejobs", NAMESPACE, "flowers"]["metadata"]["resourceVersion"]
        await FakeOperator(cluster).settle()
        assert cluster.objects["imagejobs", NAMESPACE, "flowers"]["metadata"]["resourceVersion"] == version

    run(scenario)


def test_a_pod_that_says_one_thing_and_then_another_costs_few_writes() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        cluster.start_pods()
        await step(cluster, operator)
        cluster.writes.clear()
        for second in range(60):
            waits = f"the limit gpu is missing for the {second}th time" if second % 2 else ""
            for pod in cluster.running_pods:
                cluster.report(pod, PodProgress(waiting=1, reason=waits))
            cluster.pass_time(1)
            await operator.look_again()
        written = cluster.writes
        assert written.count("PATCH imagejobs/status") <= 60 / SETTINGS.status_seconds + AT_ONCE
        assert len([write for write in written if "events" in write]) <= 2
        cluster.pass_time(SETTINGS.status_seconds)
        for pod in cluster.running_pods:
            cluster.report(pod, PodProgress(waiting=1, reason="the limit gpu is missing"))
        await operator.look_again()
        assert condition(cluster, "Stalled") == ("True", "LimitUnavailable"), "what is true in the end is told"
        await work(cluster, operator)
        assert status_of(cluster)["phase"] == "Succeeded"

    run(scenario)


def test_events_that_may_not_be_listed_hold_up_no_reconcile(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await operator.settle()  # a Job without pods, and nobody says why
        cluster.refuse = lambda method, path: (403, "events are forbidden") if method == "GET" and path.endswith("/events") else None
        cluster.pass_time(10)
        await operator.look_again()
        assert "events are forbidden" in caplog.text
        await work(cluster, operator)
        assert status_of(cluster)["phase"] == "Succeeded"

    with caplog.at_level(logging.WARNING):
        run(scenario)


def test_a_job_that_is_too_long_is_refused_before_it_starts_and_goes_on_after() -> None:
    """Where no admission policy was in its way, or before there was one."""
    long = image_job()
    long["metadata"]["annotations"] = {"notes": "x" * MAX_OBJECT_CHARACTERS}

    async def refused(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        (stalled,) = (each for each in status_of(cluster)["conditions"] if each["type"] == "Stalled")
        assert stalled["reason"] == "InvalidSpec"
        assert re.fullmatch(r"The ImageJob has 20\d,\d+ characters .* may have 204,800; put its URLs into a manifest.*", stalled["message"])
        assert not [key for key in cluster.objects if key[0] == "jobs"]

    async def goes_on(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        cluster.objects["imagejobs", NAMESPACE, "flowers"]["metadata"]["annotations"] = long["metadata"]["annotations"]
        await work(cluster, operator)
        assert status_of(cluster)["phase"] == "Succeeded"

    run(refused, long)
    run(goes_on)

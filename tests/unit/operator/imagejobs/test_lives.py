"""Whole lives of ImageJobs: what is made, what is written, and that an end after any write changes nothing of it."""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from imagejob_api.pod import LABEL_PART, FailedImages, Part, PodProgress, RunnerExit, default_shards
from imagejob_operator.constants import LABEL_KUEUE_QUEUE
from imagejob_operator.imagejobs.planner import REFUSED_AGAIN_SECONDS
from imagejob_operator.kubernetes.kinds import CONFIG_MAP, IMAGE_JOB, IMAGE_PIPELINE, JOB, Kind
from tests.unit.operator.imagejobs.builders import NAMESPACE, error, image_job, image_pipeline, images, planned, summary
from tests.unit.operator.imagejobs.fake_cluster import FakeCluster, FakeOperator, KilledError

Json = dict[str, Any]
MOST_WRITES = 8


async def step(cluster: FakeCluster, operator: FakeOperator) -> None:
    """Kubernetes and the operator until both are at rest."""
    for _ in range(10):
        before = cluster.objects.copy()
        cluster.run_jobs()
        await operator.settle()
        if before == cluster.objects:
            return
    raise AssertionError("no rest")


async def work(cluster: FakeCluster, operator: FakeOperator, *, total: int = 10, code: int = 0) -> None:
    """Pods run and end until the job has no more; the last one has the summary."""
    for _ in range(20):
        await step(cluster, operator)
        cluster.start_pods()
        await step(cluster, operator)
        running = cluster.running_pods
        if not running:
            return
        for pod in running:
            cluster.pass_time(15)
            if not is_work(pod):
                cluster.end_pod(pod, 0, planned(total, 5))
            else:
                done = 2 * len([each for each in cluster.matching("pods") if each["status"]["phase"] == "Succeeded" and is_work(each)]) + 2
                cluster.end_pod(pod, code, summary(total) if done >= total else None)
            await step(cluster, operator)
            cluster.start_pods()
    raise AssertionError("no end")


def is_work(pod: Json) -> bool:
    part: str = pod["metadata"]["labels"][LABEL_PART]
    return part == Part.WORK.label


def status_of(cluster: FakeCluster, name: str = "flowers") -> Json:
    job = cluster.get("imagejobs", name)
    assert job is not None
    return job["status"]


def condition(cluster: FakeCluster, kind: str) -> tuple[str, str]:
    found = next((each for each in status_of(cluster)["conditions"] if each["type"] == kind), None)
    return (found["status"], found["reason"]) if found else ("", "")


def run(scenario: Callable[[FakeCluster, FakeOperator], Coroutine[Any, Any, None]], *jobs: Json) -> FakeCluster:
    async def whole() -> FakeCluster:
        cluster = FakeCluster()
        operator = FakeOperator(cluster)
        for job in jobs or (image_job(),):
            cluster.create(IMAGE_JOB, job)
        await scenario(cluster, operator)
        return cluster

    return asyncio.run(whole())


def test_a_job_with_urls_runs_and_succeeds() -> None:
    cluster = run(work)

    assert status_of(cluster)["phase"] == "Succeeded"
    assert status_of(cluster)["progress"] == "10/10"
    assert condition(cluster, "Complete") == ("True", "Succeeded")
    assert {name for kind, _, name in cluster.objects if kind == "jobs"} == {"flowers"}


def test_a_job_with_a_prefix_is_planned_first() -> None:
    cluster = run(work, image_job(source={"prefix": {"url": "s3://photos"}}))

    job = cluster.get("jobs", "flowers")
    assert job is not None
    assert job["spec"]["completions"] == 5
    assert status_of(cluster)["phase"] == "Succeeded"


@pytest.mark.parametrize("source", [None, {"prefix": {"url": "s3://photos"}}], ids=["urls", "prefix"])
def test_a_life_costs_few_writes(source: Json | None) -> None:
    async def life(cluster: FakeCluster, operator: FakeOperator) -> None:
        await work(cluster, operator)  # the first job of a namespace also brings its service account and role bindings
        cluster.writes.clear()
        cluster.create(IMAGE_JOB, image_job("roses", ttlSecondsAfterFinished=60, **({"source": source} if source else {})))
        await work(cluster, operator)
        cluster.pass_time(100)
        await operator.look_again()

    cluster = run(life)

    assert cluster.get("imagejobs", "roses") is None
    numbers = cluster.writes.count("PATCH imagejobs/status")
    assert len(cluster.writes) - numbers <= MOST_WRITES
    assert numbers <= 8  # 75 s of work at one in 10 s


def test_a_namespace_that_is_made_anew_gets_its_rights_again() -> None:
    async def twice(cluster: FakeCluster, operator: FakeOperator) -> None:
        await work(cluster, operator)
        for key in [key for key in cluster.objects if key[1] == NAMESPACE]:
            if key in cluster.objects:
                cluster.remove(key)
        cluster.create(IMAGE_JOB, image_job("roses"))
        await work(cluster, operator)

    cluster = run(twice)
    assert [key for key in cluster.objects if key[0] == "serviceaccounts" and key[1] == NAMESPACE]
    assert status_of(cluster, "roses")["phase"] == "Succeeded"


def test_numbers_alone_are_written_once_in_ten_seconds() -> None:
    async def busy(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        cluster.start_pods()
        await step(cluster, operator)
        cluster.writes.clear()
        for second in range(60):
            cluster.pass_time(1)
            for pod in cluster.running_pods:
                cluster.report(pod, PodProgress(images=images(second // 30), rate=second + 1))
            await step(cluster, operator)

    assert 5 <= run(busy).writes.count("PATCH imagejobs/status") <= 6


def test_a_look_at_what_has_not_changed_writes_nothing() -> None:
    async def idle(cluster: FakeCluster, operator: FakeOperator) -> None:
        for _ in range(3):
            await step(cluster, operator)
            cluster.start_pods()
            await step(cluster, operator)
            cluster.pass_time(20)
            await operator.look_again()
            cluster.writes.clear()
            cluster.pass_time(20)
            await operator.look_again()
            await FakeOperator(cluster).look_again()
            assert cluster.writes == []
            for pod in cluster.running_pods:
                cluster.end_pod(pod, 0)

    run(idle)


def test_a_restart_over_finished_jobs_writes_nothing() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await work(cluster, operator)
        cluster.writes.clear()
        cluster.pass_time(1000)
        await FakeOperator(cluster).look_again()
        assert cluster.writes == []

    run(scenario)


@pytest.mark.parametrize("spec", [{}, {"source": {"prefix": {"url": "s3://photos"}}}, {"ttlSecondsAfterFinished": 5}], ids=str)
def test_a_kill_after_any_write_changes_nothing(spec: Json) -> None:
    whole = run(work, image_job(**spec))
    expected, writes = comparable(whole), len(whole.writes)

    async def killed(cluster: FakeCluster, operator: FakeOperator, after: int) -> None:
        cluster.kill_after = after
        try:
            await work(cluster, operator)
        except KilledError:
            cluster.kill_after = None
            cluster.pass_time(3)
            await work(cluster, FakeOperator(cluster))

    for after in range(1, writes + 1):
        cluster = run(lambda cluster, operator, after=after: killed(cluster, operator, after), image_job(**spec))
        assert comparable(cluster) == expected, f"killed after write {after}, {whole.writes[after - 1]}"


def comparable(cluster: FakeCluster) -> Json:
    """All objects but their times, versions, uids, and the pods' random names."""
    result: dict[str, int] = {}
    for (kind, namespace, name), thing in cluster.objects.items():
        if kind in ("pods", "events"):
            text = kind + thing.get("reason", "") + json.dumps(thing.get("status", {}).get("phase"))
        else:
            kept = json.dumps(
                {key: value for key, value in thing.items() if key != "metadata"} | {"labels": thing["metadata"].get("labels")}
            )
            text = f"{kind}/{namespace}/{name}/{_without_times(kept)}"
        result[text] = result.get(text, 0) + 1
    return result


def _without_times(text: str) -> str:
    return re.sub(r"uid-[0-9]+", "uid", re.sub(r"20\d\d-\d\d-\d\dT[0-9:]+Z", "time", text))


def test_suspend_and_resume() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        cluster.start_pods()
        await step(cluster, operator)
        cluster.change_spec("flowers", suspend=True)
        await step(cluster, operator)
        assert not cluster.matching("pods")
        assert (status_of(cluster)["phase"], condition(cluster, "Suspended")) == ("Suspended", ("True", "Suspended"))
        cluster.change_spec("flowers", suspend=False)
        await work(cluster, operator)
        assert (status_of(cluster)["phase"], condition(cluster, "Suspended")) == ("Succeeded", ("False", "NotSuspended"))

    run(scenario)


def test_a_job_that_is_created_suspended_has_no_objects() -> None:
    cluster = run(step, image_job(suspend=True))

    assert {kind for kind, _, _ in cluster.objects} == {"imagejobs", "events"}
    assert "startTime" not in status_of(cluster)


def test_cancel_lets_pods_end_before_the_job_is_over() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        cluster.start_pods()
        await step(cluster, operator)
        cluster.change_spec("flowers", cancel=True)
        await operator.settle()
        assert (status_of(cluster)["phase"], condition(cluster, "Finished")[0]) == ("Cancelling", "False")
        await step(cluster, operator)
        assert (status_of(cluster)["phase"], condition(cluster, "Finished")) == ("Cancelled", ("True", "Cancelled"))
        assert condition(cluster, "Failed") == ("True", "Cancelled")

    run(scenario)


def test_too_many_failures_stop_the_job_and_it_stays_stopped() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        cluster.start_pods()
        await step(cluster, operator)
        pod = cluster.running_pods[0]
        most = FailedImages(code="CallFailed", count=2, example="3.jpg: ValueError: no faces")
        cluster.report(pod, PodProgress(images=images(1, 2).model_copy(update={"most_failed": most})))
        await operator.settle()
        job = cluster.get("jobs", "flowers")
        assert job is not None
        assert job["spec"]["suspend"] is True
        cluster.change_spec("flowers", failurePolicy={"maxFailures": 5})  # too late: it has been decided
        await step(cluster, FakeOperator(cluster))
        assert condition(cluster, "Failed") == ("True", "TooManyFailures")
        (said,) = [each["message"] for each in status_of(cluster)["conditions"] if each["type"] == "Failed"]
        assert "2 with CallFailed, a fault of the model or the pipeline, as 3.jpg: ValueError: no faces." in said
        assert status_of(cluster)["reason"] == "TooManyFailures"

    run(scenario, image_job(failurePolicy={"maxFailures": 1}))


def test_a_deadline_ends_the_job() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        cluster.start_pods()
        await step(cluster, operator)
        assert operator.again[NAMESPACE, "flowers"] == pytest.approx(30)
        cluster.pass_time(31)
        await operator.look_again()
        await step(cluster, operator)
        assert condition(cluster, "Failed") == ("True", "DeadlineExceeded")

    run(scenario, image_job(activeDeadlineSeconds=30))


def test_time_in_suspension_does_not_count_for_the_deadline() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        cluster.pass_time(20)
        cluster.change_spec("flowers", suspend=True)
        await step(cluster, operator)
        cluster.pass_time(1000)
        await operator.look_again()
        cluster.change_spec("flowers", suspend=False)
        await step(cluster, operator)
        cluster.pass_time(20)
        await operator.look_again()
        assert condition(cluster, "Finished")[0] == "False"
        cluster.pass_time(11)
        await operator.look_again()
        await step(cluster, operator)
        assert condition(cluster, "Failed") == ("True", "DeadlineExceeded")

    run(scenario, image_job(activeDeadlineSeconds=30))


def test_parallelism_is_changed_live() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        cluster.writes.clear()
        cluster.change_spec("flowers", parallelism=4)
        await step(cluster, operator)
        assert len(cluster.matching("pods")) == 4
        assert cluster.writes == ["PATCH jobs", "PATCH imagejobs/status"]

    run(scenario)


def test_a_changed_template_replaces_the_pods_and_takes_nothing_back() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        cluster.start_pods()
        await step(cluster, operator)
        cluster.report(cluster.running_pods[0], PodProgress(images=images(2)))
        cluster.pass_time(20)
        await step(cluster, operator)
        before = cluster.get("jobs", "flowers")
        cluster.change_spec("flowers", template={"resources": {"limits": {"memory": "8Gi"}}})
        await step(cluster, operator)
        job = cluster.get("jobs", "flowers")
        assert before is not None
        assert job is not None
        assert job["metadata"]["uid"] != before["metadata"]["uid"]
        assert job["spec"]["template"]["spec"]["containers"][0]["resources"] == {"limits": {"memory": "8Gi", "nvidia.com/gpu": 1}}
        assert status_of(cluster)["images"]["succeeded"] == 2
        await work(cluster, operator)
        assert status_of(cluster)["phase"] == "Succeeded"

    run(scenario)


def test_a_restart_takes_no_count_back_though_the_pods_are_gone() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        cluster.start_pods()
        await step(cluster, operator)
        cluster.report(cluster.running_pods[0], PodProgress(images=images(1, 1)))
        cluster.pass_time(20)
        await step(cluster, operator)
        cluster.change_spec("flowers", suspend=True)
        await step(cluster, operator)
        again = FakeOperator(cluster)
        await step(cluster, again)
        cluster.change_spec("flowers", suspend=False)
        await step(cluster, again)
        cluster.start_pods()
        cluster.report(cluster.running_pods[0], PodProgress(images=images(1)))
        cluster.pass_time(20)
        await step(cluster, again)
        assert status_of(cluster)["images"] == {"total": 10, "succeeded": 1, "failed": 1, "skipped": 0}

    run(scenario)


def test_a_pipeline_that_changes_after_the_start_changes_nothing() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        cluster.create(IMAGE_PIPELINE, image_pipeline())
        await step(cluster, operator)
        cluster.pass_time(20)
        await operator.look_again()
        cluster.writes.clear()
        cluster.remove(("imagepipelines", NAMESPACE, "classify"))
        await FakeOperator(cluster).look_again()
        assert cluster.writes == []
        await work(cluster, operator)
        assert status_of(cluster)["phase"] == "Succeeded"

    run(scenario, image_job(pipeline=None, pipelineRef={"name": "classify"}))


def test_a_stalled_job_goes_on_when_its_pipeline_is_there() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        assert condition(cluster, "Stalled") == ("True", "PipelineNotFound")
        cluster.create(IMAGE_PIPELINE, image_pipeline())
        await work(cluster, operator)
        assert status_of(cluster)["phase"] == "Succeeded"

    run(scenario, image_job(pipeline=None, pipelineRef={"name": "classify"}))


def test_a_mistake_can_be_put_right_before_the_start() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        assert condition(cluster, "Stalled") == ("True", "InvalidSpec")
        cluster.change_spec("flowers", chunkSize=2)
        await work(cluster, operator)
        assert status_of(cluster)["phase"] == "Succeeded"

    run(scenario, image_job(chunkSize="two"))


def test_a_malformed_job_stops_nobody_else() -> None:
    malformed = [image_job("none", spec=None), image_job("text"), image_job("list"), image_job("huge", chunkSize=10**400)]
    malformed[0]["spec"] = {}
    malformed[1]["spec"] = "text"
    malformed[2]["spec"] = [1]
    cluster = run(work, *malformed, image_job())

    assert status_of(cluster)["phase"] == "Succeeded"
    for name in ("none", "text", "list", "huge"):
        stalled = next(each for each in status_of(cluster, name)["conditions"] if each["type"] == "Stalled")
        assert (stalled["status"], stalled["reason"]) == ("True", "InvalidSpec")


def test_what_no_attempt_can_help_fails_the_job_at_once() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        cluster.start_pods()
        await step(cluster, operator)
        cluster.end_pod(cluster.running_pods[0], RunnerExit.MODEL_REFUSED, error("the digest differs"))
        await step(cluster, operator)
        assert condition(cluster, "Failed") == ("True", "ModelRefused")

    run(scenario)


def test_no_summary_is_made_up_for_by_a_pod_that_finishes() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        for _ in range(3):
            await step(cluster, operator)
            cluster.start_pods()
            for pod in cluster.running_pods:
                cluster.end_pod(pod, 0)
        await step(cluster, operator)
        assert cluster.get("jobs", "flowers-finish") is None  # the last words may be on their way
        cluster.pass_time(6)
        await operator.look_again()
        await step(cluster, operator)
        cluster.start_pods()
        cluster.end_pod(cluster.running_pods[0], 0, summary(9, 1))
        await step(cluster, operator)
        assert condition(cluster, "Complete") == ("True", "PartiallySucceeded")

    run(scenario)


def test_a_job_in_a_queue_is_left_to_kueue() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        job = cluster.get("jobs", "flowers")
        assert job is not None
        assert (job["spec"]["suspend"], job["metadata"]["labels"][LABEL_KUEUE_QUEUE]) == (True, "gpus")
        assert (status_of(cluster)["phase"], condition(cluster, "Suspended")) == ("Pending", ("True", "Queued"))
        assert "startTime" not in status_of(cluster)
        cluster.put(("jobs", NAMESPACE, "flowers"), {**job, "spec": {**job["spec"], "suspend": False}})  # Kueue admits it
        await step(cluster, operator)
        assert "startTime" in status_of(cluster)
        cluster.change_spec("flowers", suspend=True)
        await step(cluster, operator)
        assert cluster.get("jobs", "flowers") is None  # or Kueue would start it again
        cluster.change_spec("flowers", suspend=False)
        await step(cluster, operator)
        again = cluster.get("jobs", "flowers")
        assert again is not None
        assert again["spec"]["suspend"] is True

    run(scenario, image_job(labels={LABEL_KUEUE_QUEUE: "gpus"}))


def test_a_decision_outlives_the_job_in_a_queue_that_it_ends() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        job = cluster.get("jobs", "flowers-plan")
        assert job is not None
        cluster.put(("jobs", NAMESPACE, "flowers-plan"), {**job, "spec": {**job["spec"], "suspend": False}})
        await step(cluster, operator)
        cluster.start_pods()
        cluster.end_pod(cluster.running_pods[0], 0, planned(1000, 5))
        await step(cluster, operator)
        job = cluster.get("jobs", "flowers")
        assert job is not None
        cluster.put(("jobs", NAMESPACE, "flowers"), {**job, "spec": {**job["spec"], "suspend": False}})
        await step(cluster, operator)
        cluster.start_pods()
        cluster.report(cluster.running_pods[0], PodProgress(images=images(80, 20)))
        await operator.settle()
        job = cluster.get("jobs", "flowers")
        assert job is not None
        assert "deletionTimestamp" in job["metadata"]
        for pod in cluster.running_pods:  # they commit what is whole, and end
            cluster.report(pod, PodProgress(images=images(180, 20)))
        again = FakeOperator(cluster)
        await again.settle()
        for pod in cluster.running_pods:
            cluster.end_pod(pod, RunnerExit.STOPPED)
        await again.settle()
        assert condition(cluster, "Failed") == ("True", "TooManyFailures")
        await step(cluster, again)
        assert cluster.get("jobs", "flowers") is None

    policy = {"maxFailureRate": 0.15}
    run(scenario, image_job(labels={LABEL_KUEUE_QUEUE: "gpus"}, source={"prefix": {"url": "s3://photos"}}, failurePolicy=policy))


@pytest.mark.parametrize("kind", [JOB, CONFIG_MAP], ids=lambda kind: kind.kind)
def test_a_name_that_is_taken_is_said_and_left_alone(kind: Kind) -> None:
    foreign = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "flowers", "namespace": NAMESPACE}}
    foreign |= {"data": {}, "spec": {"suspend": True, "completions": 1, "parallelism": 1}}

    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        cluster.create(kind, foreign)
        await step(cluster, operator)
        assert condition(cluster, "Stalled") == ("True", "NameTaken")
        before = len(cluster.writes)
        await operator.look_again()
        assert len(cluster.writes) == before
        assert cluster.get(kind.plural, "flowers") is not None
        cluster.remove((kind.plural, NAMESPACE, "flowers"))
        cluster.pass_time(31)
        await operator.look_again()
        assert condition(cluster, "Stalled")[0] == "False"

    run(scenario)


@pytest.mark.parametrize(("source", "first"), [({}, "flowers"), ({"source": {"prefix": {"url": "s3://photos"}}}, "flowers-plan")], ids=str)
def test_pods_of_an_earlier_job_of_the_same_name_count_for_nothing(source: Json, first: str) -> None:
    spec = {**source, "failurePolicy": {"maxFailures": 1}}

    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        cluster.start_pods()
        pod = cluster.running_pods[0]
        cluster.end_pod(pod, 0, summary(7, 3) if is_work(pod) else planned(10, 4))
        left = cluster.matching("pods")
        cluster.remove(("imagejobs", NAMESPACE, "flowers"))
        for pod in left:  # nobody has collected them yet
            cluster.objects["pods", NAMESPACE, pod["metadata"]["name"]] = pod
        cluster.pass_time(1)
        cluster.create(IMAGE_JOB, image_job(**spec))
        await operator.settle()
        assert condition(cluster, "Finished") == ("False", "NotFinished")
        assert [name for kind, _, name in cluster.objects if kind == "jobs"] == [first]

    run(scenario, image_job(**spec))


def test_what_nobody_asks_for_after_the_end_is_forgotten() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        cluster.start_pods()
        cluster.report(cluster.running_pods[0], PodProgress(images=images(1)))
        await step(cluster, operator)
        (memory,) = operator.controller._memories.values()
        assert operator.controller._files.get((NAMESPACE, "flowers"), memory.uid) is not None
        assert memory.reports
        await work(cluster, operator)
        await operator.look_again()
        assert operator.controller._memories == {}
        assert operator.controller._files.get((NAMESPACE, "flowers"), memory.uid) is None

    run(scenario)


def test_leftovers_of_an_earlier_job_are_waited_for() -> None:
    leftover = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "flowers",
            "namespace": NAMESPACE,
            "ownerReferences": [{"kind": "ImageJob", "name": "flowers", "uid": "an earlier one", "controller": True}],
        },
        "spec": {"suspend": True},
    }

    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        cluster.create(JOB, leftover)
        await operator.settle()
        assert operator.again[NAMESPACE, "flowers"] == 1
        assert status_of(cluster) == {"observedGeneration": -1}
        cluster.pass_time(6)
        await operator.look_again()
        assert condition(cluster, "Reconciling") == ("True", "Preparing")
        cluster.remove(("jobs", NAMESPACE, "flowers"))
        await operator.look_again()
        await work(cluster, operator)
        assert status_of(cluster)["phase"] == "Succeeded"

    run(scenario)


def test_what_the_api_server_refuses_is_said_in_its_words() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        cluster.refuse = lambda method, path: (403, "exceeded quota: jobs") if method == "POST" and path.endswith("/jobs") else None
        await step(cluster, operator)
        stalled = next(each for each in status_of(cluster)["conditions"] if each["type"] == "Stalled")
        assert (stalled["reason"], stalled["message"]) == ("ObjectRefused", "exceeded quota: jobs")
        cluster.refuse = lambda _method, _path: None
        cluster.pass_time(31)
        await operator.look_again()
        assert cluster.get("jobs", "flowers") is not None

    run(scenario)


@pytest.mark.parametrize(("change", "reason"), [({"suspend": True}, "Suspended"), ({"cancel": True}, "Cancelled")], ids=str)
def test_a_suspension_that_is_refused_is_told_and_tried_again(change: Json, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        cluster.refuse = lambda method, path: (403, "jobs is forbidden") if method == "PATCH" and "/jobs/" in path else None
        cluster.change_spec("flowers", **change)
        await step(cluster, operator)
        await operator.look_again()
        assert condition(cluster, "Stalled") == ("True", "ObjectRefused")
        assert operator.again[NAMESPACE, "flowers"] == pytest.approx(REFUSED_AGAIN_SECONDS)
        cluster.refuse = lambda _method, _path: None
        cluster.pass_time(31)
        await operator.look_again()
        await step(cluster, operator)
        assert (status_of(cluster)["phase"], condition(cluster, "Stalled")[0]) == (reason, "False")

    run(scenario)
    assert [record.getMessage() for record in caplog.records] == ["ImageJob team-a/flowers: ObjectRefused: jobs is forbidden"]


def test_a_deletion_that_is_refused_is_tried_again() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await work(cluster, operator)
        cluster.refuse = lambda method, _path: (403, "no deletions today") if method == "DELETE" else None
        cluster.pass_time(11)
        await operator.look_again()
        assert operator.again[NAMESPACE, "flowers"] == pytest.approx(REFUSED_AGAIN_SECONDS)
        cluster.refuse = lambda _method, _path: None
        await operator.look_again()
        assert cluster.get("imagejobs", "flowers") is None

    run(scenario, image_job(ttlSecondsAfterFinished=10))


def test_a_conflict_is_read_again() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await operator.observe()
        cluster.change_spec("flowers", parallelism=3)  # the operator has not seen it yet
        assert await operator.controller.reconcile(("ImageJob", NAMESPACE, "flowers")) == 0
        await step(cluster, operator)
        assert status_of(cluster)["observedGeneration"] == 2

    run(scenario)


def test_a_job_that_is_being_deleted_is_left_alone() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        job = cluster.get("imagejobs", "flowers")
        assert job is not None
        job["metadata"]["deletionTimestamp"] = "2026-05-04T10:00:00Z"
        await operator.look_again()
        assert cluster.writes == []

    run(scenario)


def test_events_are_posted_once() -> None:
    cluster = run(work)

    assert sorted(event["reason"] for event in cluster.matching("events")) == ["Started", "Succeeded"]


@pytest.mark.parametrize("spec", [{}, {"cancel": True}], ids=["done", "cancelled"])
def test_finished_pods_are_kept_for_an_hour_and_the_image_job_for_good(spec: Json) -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        cluster.start_pods()
        if spec:
            cluster.change_spec("flowers", **spec)
            await step(cluster, operator)
        else:
            await work(cluster, operator)
        await step(cluster, operator)
        ended = status_of(cluster)
        assert condition(cluster, "Finished")[0] == "True"
        cluster.writes.clear()
        restarted = FakeOperator(cluster)
        await restarted.settle()
        cluster.pass_time(3590)
        await restarted.look_again()
        assert cluster.get("jobs", "flowers") is not None
        assert cluster.writes == []
        left = restarted.again[NAMESPACE, "flowers"]
        assert left is not None
        cluster.pass_time(left)
        await restarted.look_again()
        await step(cluster, restarted)
        assert cluster.writes == ["DELETE jobs"]
        assert cluster.matching("jobs") == cluster.matching("pods") == []
        assert status_of(cluster) == ended
        assert restarted.again[NAMESPACE, "flowers"] is None

    run(scenario, image_job())


def test_a_job_of_one_pod_at_a_time_has_one_pod_until_it_may_have_more() -> None:
    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        cluster.start_pods()
        await step(cluster, operator)
        (only,) = cluster.running_pods
        assert work_of(cluster) == (1, 1)
        assert status_of(cluster)["shards"]["total"] == 5
        cluster.report(only, PodProgress(images=images(6)))
        await operator.settle()

        cluster.change_spec("flowers", parallelism=3)
        for _ in range(3):
            await step(cluster, operator)
        assert work_of(cluster) == (3, 5)
        cluster.start_pods()
        await step(cluster, operator)
        for pod in cluster.running_pods[1:]:
            cluster.report(pod, PodProgress(images=images(2)))
        cluster.pass_time(11)
        await operator.look_again()
        assert status_of(cluster)["progress"] == "6/10", "what the first pod told is not counted twice"

        cluster.change_spec("flowers", parallelism=1)
        await step(cluster, operator)
        assert work_of(cluster) == (1, 5)

    run(scenario, image_job(parallelism=1))


@pytest.mark.parametrize("source", [{}, {"source": {"prefix": {"url": "s3://photos"}}}], ids=["urls", "prefix"])
def test_parallelism_may_grow_beyond_the_pods_that_a_job_began_with(source: Json) -> None:
    urls = [{"url": f"https://photos.example/{index}.jpg"} for index in range(200)]

    async def scenario(cluster: FakeCluster, operator: FakeOperator) -> None:
        await step(cluster, operator)
        if source:
            cluster.start_pods()
            await step(cluster, operator)
            cluster.end_pod(cluster.running_pods[0], 0, planned(200, default_shards(1)))
            await step(cluster, operator)
        assert work_of(cluster) == (1, 1)
        for parallelism, pods in ((6, 24), (24, 24), (30, 64), (64, 64)):
            cluster.change_spec("flowers", parallelism=parallelism)
            for _ in range(3):
                await step(cluster, operator)
                cluster.pass_time(10)
                await operator.look_again()
            assert work_of(cluster) == (parallelism, pods)
            live = [pod for pod in cluster.matching("pods") if is_work(pod) and pod["status"]["phase"] == "Pending"]
            assert len(live) == parallelism
            assert not reconciled(cluster)
        cluster.change_spec("flowers", parallelism=100)
        await step(cluster, operator)
        assert work_of(cluster) == (64, 64)
        assert reconciled(cluster).startswith("parallelism is 100, and no more than 64 pods work at once")

    run(scenario, image_job(parallelism=1, **({"source": {"urls": urls}} | source)))


def reconciled(cluster: FakeCluster) -> str:
    """The message of the condition Reconciling."""
    return str(next(each["message"] for each in status_of(cluster)["conditions"] if each["type"] == "Reconciling"))


def work_of(cluster: FakeCluster) -> tuple[int, int]:
    """Pods at once, and in all."""
    job = cluster.get("jobs", "flowers")
    assert job is not None
    return job["spec"]["parallelism"], job["spec"]["completions"]

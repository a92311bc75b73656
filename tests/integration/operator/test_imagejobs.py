"""Lives of ImageJobs on a real API server."""

import asyncio
import json
import time
from collections.abc import Callable

import pytest

from imagejob_api.output_in_pods import FIX
from imagejob_api.pod import ErrorReport, PlanReport, PodImages, PodProgress, PodResult, RunnerExit, SummaryReport
from imagejob_operator.kubernetes import NotFoundError
from imagejob_operator.kubernetes.kinds import CONFIG_MAP, EVENT, IMAGE_JOB, IMAGE_PIPELINE, JOB, NODE_LIMIT, POD
from tests.integration.operator.imagejobs_harness import LEASES, Plane, World

pytestmark = pytest.mark.integration

RecordProperty = Callable[[str, object], None]

MOST_WRITES = 8
ACCESS_WRITES = 3
"""Once in a namespace: the service account of its pods, and two role bindings."""
DELETE_SECONDS = 2.0
REASON_SECONDS = 15.0


def summary(succeeded: int = 10, failed: int = 0) -> PodResult:
    report = SummaryReport(total=succeeded + failed, succeeded=succeeded, failed=failed, skipped=0, within_policy=True)
    return PodResult(images=PodImages(succeeded=succeeded, failed=failed), summary=report)


async def test_a_job_from_its_creation_to_its_end(operator: Plane, world: World) -> None:
    await world.create("flowers")
    pods = await world.running_pods("flowers", 2)
    status = await world.phase("flowers", "Running")
    assert status["startTime"]
    for pod in pods:
        await world.report(pod, PodProgress(images=PodImages(succeeded=1), rate=2.5, waiting=1))
    status = await world.until(lambda: world.status("flowers"), lambda status: status.get("progress") == "2/10")
    assert (status["imagesPerSecond"], status["waitingForLimit"], status["pods"]) == ("5.0", 2, {"active": 2, "ready": 2})
    assert status["eta"]

    await world.work("flowers", summary(9, 1))

    operator.control_plane.kubectl("wait", "-n", world.namespace, "--for=condition=Finished", "imagejob/flowers", "--timeout=60s")
    status = await world.status("flowers")
    assert (
        await world.condition("flowers", "Complete", "PartiallySucceeded")
        == "1 of 10 images failed, which failurePolicy allows; errors.jsonl lists them."
    )
    assert (status["phase"], status["progress"], status["shards"]) == ("Succeeded", "10/10", {"total": 5, "succeeded": 5, "failed": 0})
    events = await world.api.list(EVENT, world.namespace, field_selector="involvedObject.kind=ImageJob")
    assert sorted(event["reason"] for event in events) == ["PartiallySucceeded", "Started"]
    lines = operator.control_plane.kubectl("get", "imagejobs", "-n", world.namespace).splitlines()
    assert lines[1].split()[:4] == ["flowers", "Succeeded", "10/10", "1"]


@pytest.mark.usefixtures("operator")
async def test_a_source_that_is_listed_is_planned_by_a_pod(world: World) -> None:
    await world.create("flowers", source={"prefix": {"url": "s3://photos/"}})
    (plan,) = await world.running_pods("flowers", 1)
    assert plan["spec"]["containers"][0]["command"] == ["imagejob-runner", "plan"]
    await world.phase("flowers", "Planning")

    planned = PodResult(plan=PlanReport(total=40, shards=3, chunk_size=2))
    await world.work("flowers", summary(40), total=3, planned=planned)

    status = await world.phase("flowers", "Succeeded")
    assert (status["progress"], status["shards"]["total"]) == ("40/40", 3)


async def test_a_life_costs_few_writes(operator: Plane, world: World, record_property: RecordProperty) -> None:
    def all_writes() -> list[str]:
        return [write for write in operator.writes() if world.namespace in write or f"/{LEASES}/rolebindings" in write]

    for name, of_the_namespace in (("first", ACCESS_WRITES), ("second", 0)):
        before = len(all_writes())
        began = time.monotonic()
        await world.create(name, source={"prefix": {"url": "s3://photos/"}})
        await world.work(name, summary(), planned=PodResult(plan=PlanReport(total=10, shards=5, chunk_size=2)))
        await world.phase(name, "Succeeded")
        tens = int((time.monotonic() - began) / 10)

        writes = all_writes()[before:]

        record_property(f"writes_of_the_{name}_life", len(writes))
        assert len(writes) <= MOST_WRITES + of_the_namespace + tens, writes
        assert not [write for write in writes if not write.endswith((" 200", " 201"))]


async def test_delete_does_not_need_the_operator(plane: Plane, world: World) -> None:
    plane.start_operator()
    await world.create("flowers")
    await world.running_pods("flowers", 2)
    plane.stop_operator()
    began = time.monotonic()
    plane.control_plane.kubectl("delete", "imagejob", "flowers", "-n", world.namespace)
    assert time.monotonic() - began < DELETE_SECONDS

    async def left() -> list[str]:
        found = [await world.api.list(kind, world.namespace, label_selector="imagejob.dev/job=flowers") for kind in (JOB, POD, CONFIG_MAP)]
        return [thing["metadata"]["name"] for things in found for thing in things]

    await world.until(left, lambda names: not names)


@pytest.mark.usefixtures("operator")
async def test_a_job_of_the_same_name_may_follow_at_once(world: World) -> None:
    await world.create("flowers")
    await world.running_pods("flowers", 2)
    await world.api.delete(IMAGE_JOB, "flowers", world.namespace)
    uid = (await world.create("flowers", parallelism=1))["metadata"]["uid"]

    # The first Job's pods go one by one, so that their number tells nothing until there is the second Job.
    await world.until(lambda: world.job("flowers"), lambda job: job is not None and job["metadata"]["ownerReferences"][0]["uid"] == uid)
    await world.running_pods("flowers", 1)


async def test_suspend_resume_and_cancel(operator: Plane, world: World) -> None:
    await world.create("flowers")
    await world.running_pods("flowers", 2)
    await world.change("flowers", suspend=True)
    await world.phase("flowers", "Suspended")
    await world.running_pods("flowers", 0)
    assert await world.condition("flowers", "Suspended", "Suspended")
    await world.change("flowers", suspend=False)
    await world.running_pods("flowers", 2)
    await world.condition("flowers", "Suspended", "Resumed")
    await world.change("flowers", cancel=True)
    operator.control_plane.kubectl("wait", "-n", world.namespace, "--for=condition=Finished", "imagejob/flowers", "--timeout=60s")
    await world.phase("flowers", "Cancelled")
    assert not await world.pods("flowers", "Running", "Pending")


@pytest.mark.usefixtures("operator")
async def test_parallelism_and_template_are_changed_live(world: World) -> None:
    await world.create("flowers")
    await world.running_pods("flowers", 2)
    await world.change("flowers", parallelism=4)
    pods = await world.running_pods("flowers", 4)
    await world.report(pods[0], PodProgress(images=PodImages(succeeded=2)))
    await world.until(lambda: world.status("flowers"), lambda status: status.get("progress") == "2/10")
    before = await world.job("flowers")
    await world.change("flowers", template={"resources": {"requests": {"memory": "1Gi"}}})

    async def replaced() -> list[str]:
        return [
            pod["spec"]["containers"][0]["resources"].get("requests", {}).get("memory", "")
            for pod in await world.pods("flowers", "Running")
        ]

    await world.until(replaced, lambda memory: memory == ["1Gi"] * 4)
    after = await world.job("flowers")
    assert before is not None
    assert after is not None
    assert before["metadata"]["uid"] != after["metadata"]["uid"]
    assert (await world.status("flowers"))["progress"] == "2/10"
    await world.work("flowers", summary())
    await world.phase("flowers", "Succeeded")


@pytest.mark.usefixtures("operator")
async def test_too_many_failures_stop_a_job(world: World) -> None:
    await world.create("flowers", failurePolicy={"maxFailures": 1})
    pods = await world.running_pods("flowers", 2)
    await world.report(pods[0], PodProgress(images=PodImages(failed=2)))
    message = await world.condition("flowers", "Failed", "TooManyFailures")
    assert message.startswith("2 images failed; failurePolicy.maxFailures allows 1.")
    assert (await world.status("flowers"))["phase"] == "Failed"


@pytest.mark.usefixtures("operator")
async def test_what_no_attempt_can_help_fails_a_job_at_once(world: World) -> None:
    await world.create("flowers")
    pods = await world.running_pods("flowers", 2)
    said = "weights.pt has the digest 12ab, and the pipeline says 34cd"
    await world.end_pod(pods[0], RunnerExit.MODEL_REFUSED, PodResult(error=ErrorReport(message=said)))
    assert (await world.condition("flowers", "Failed", "ModelRefused", REASON_SECONDS)).startswith(said)


@pytest.mark.usefixtures("operator")
async def test_an_output_that_is_away_is_said_until_it_is_back_and_one_that_refuses_ends_the_job(world: World) -> None:
    await world.create("flowers")
    pods = await world.running_pods("flowers", 2)
    why = "cannot write s3://results/flowers/_imagejob/writable: http://s3 cannot be reached: Connection refused"
    await world.report(pods[0], PodProgress(storage=why))
    assert await world.condition("flowers", "Stalled", "StorageUnreachable", REASON_SECONDS) == why
    await world.report(pods[0], PodProgress())
    await world.condition("flowers", "Stalled", "NotStalled", REASON_SECONDS)
    refused = "cannot write s3://results/flowers/_imagejob/writable: NoSuchBucket; make the bucket s3://results"
    await world.end_pod(pods[1], RunnerExit.STORAGE_REFUSED, PodResult(error=ErrorReport(message=refused)))
    assert (await world.condition("flowers", "Failed", "StorageRefused", REASON_SECONDS)).startswith(refused)
    told = {event["reason"]: event["message"] for event in await world.api.list(EVENT, world.namespace)}
    assert told["StorageUnreachable"] == why
    assert told["StorageRefused"].startswith(refused)


@pytest.mark.usefixtures("operator")
async def test_an_output_inside_the_pods_makes_no_pod_until_it_is_corrected(world: World) -> None:
    await world.create("flowers", output={"url": "file:///tmp/rows"})
    message = await world.condition("flowers", "Stalled", "OutputInPods", REASON_SECONDS)
    assert message == f"The output file:///tmp/rows is a folder inside each pod, and 5 pods work, one for each shard; {FIX}."
    assert await world.job("flowers") is None
    await world.change("flowers", output={"url": "s3://results/flowers"})
    await world.running_pods("flowers", 2)


@pytest.mark.usefixtures("operator")
async def test_a_shard_is_given_up_after_its_attempts(world: World) -> None:
    await world.create("flowers", failurePolicy={"backoffLimitPerShard": 0}, parallelism=5)
    pods = await world.running_pods("flowers", 5)
    for pod in pods[1:]:
        await world.end_pod(pod)
    await world.end_pod(pods[0], RunnerExit.STORAGE, PodResult(error=ErrorReport(message="s3://results timed out")))
    message = await world.condition("flowers", "Failed", "StorageUnreachable")
    assert message.startswith("1 of 5 shards were given up. s3://results timed out (pod flowers-")
    assert (await world.status("flowers"))["shards"] == {"total": 5, "succeeded": 4, "failed": 1}


@pytest.mark.usefixtures("operator")
async def test_deadlines(world: World) -> None:
    await world.create("slow", activeDeadlineSeconds=2)
    await world.create("late", startDeadlineSeconds=2, template={"nodeSelector": {"no": "where"}})
    await world.condition("slow", "Failed", "DeadlineExceeded", REASON_SECONDS)
    await world.condition("late", "Failed", "StartDeadlineExceeded", REASON_SECONDS)
    assert not await world.pods("slow", "Running", "Pending")
    assert not await world.pods("late", "Running", "Pending")


@pytest.mark.usefixtures("operator")
async def test_a_finished_job_is_deleted_after_its_time(world: World) -> None:
    await world.create("flowers", cancel=True, ttlSecondsAfterFinished=1)

    async def there() -> bool:
        try:
            await world.api.get(IMAGE_JOB, "flowers", world.namespace)
        except NotFoundError:
            return False
        return True

    await world.until(there, lambda found: not found)


@pytest.mark.usefixtures("operator")
async def test_a_pipeline_and_a_limit_that_come_late(world: World) -> None:
    steps = [{"name": "download", "download": {}, "limits": [{"name": world.namespace}]}, {"name": "save", "save": {}}]
    await world.create("flowers", pipeline=None, pipelineRef={"name": "classify"})
    message = await world.condition("flowers", "Stalled", "PipelineNotFound", REASON_SECONDS)
    assert message == f"There is no ImagePipeline classify in namespace {world.namespace}."
    await world.api.create(
        IMAGE_PIPELINE,
        {
            "apiVersion": IMAGE_PIPELINE.api_version,
            "kind": "ImagePipeline",
            "metadata": {"name": "classify", "namespace": world.namespace},
            "spec": {"steps": steps},
        },
    )
    await world.condition("flowers", "Stalled", "LimitNotFound", REASON_SECONDS)
    limit = {"apiVersion": NODE_LIMIT.api_version, "kind": "NodeLimit", "metadata": {"name": world.namespace}}
    await world.api.create(NODE_LIMIT, {**limit, "spec": {"slots": 1, "active": False}})
    await world.condition("flowers", "Stalled", "LimitInactive", REASON_SECONDS)
    await world.api.patch(NODE_LIMIT, world.namespace, None, {"spec": {"active": True}})
    await world.running_pods("flowers", 2)
    await world.condition("flowers", "Stalled", "NotStalled", REASON_SECONDS)
    await world.api.delete(NODE_LIMIT, world.namespace)


@pytest.mark.usefixtures("operator")
async def test_the_scheduler_says_why(world: World) -> None:
    await world.create("flowers", template={"resources": {"requests": {"cpu": 1000}}})
    message = await world.condition("flowers", "Stalled", "Unschedulable", REASON_SECONDS)
    assert "Insufficient cpu" in message
    await world.change("flowers", template={"resources": {"requests": {"cpu": 1}}})  # a mistake can be put right
    await world.running_pods("flowers", 2)
    await world.condition("flowers", "Stalled", "NotStalled", REASON_SECONDS)


@pytest.mark.parametrize(
    ("waiting", "reason"),
    [
        ("ErrImagePull", "ImagePullFailed"),
        ("CreateContainerConfigError", "ContainerConfigError"),
        ("RunContainerError", "ContainerStartFailed"),
    ],
)
@pytest.mark.usefixtures("operator")
async def test_the_kubelet_says_why(world: World, waiting: str, reason: str) -> None:
    # No node has this label, so that nobody but this test says anything about the pod.
    await world.create("flowers", parallelism=1, template={"nodeSelector": {"simulated": "no"}})
    pod = (await world.until(lambda: world.pods("flowers", "Pending"), lambda pods: len(pods) == 1))[0]
    await world.wait_in(pod, waiting, "said by the kubelet")
    assert await world.condition("flowers", "Stalled", reason, REASON_SECONDS) == "said by the kubelet"


async def test_a_quota_says_why(operator: Plane, world: World) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    operator.control_plane.kubectl("apply", "-n", world.namespace, "-f", "-", stdin=json.dumps(quota))
    await world.create("flowers")
    message = await world.condition("flowers", "Stalled", "PodsRefused", REASON_SECONDS)
    assert "exceeded quota" in message


async def test_pod_security_takes_the_pods(operator: Plane, world: World) -> None:
    operator.control_plane.kubectl("label", "namespace", world.namespace, "pod-security.kubernetes.io/enforce=restricted")
    await world.create("flowers")
    await world.running_pods("flowers", 2)


@pytest.mark.usefixtures("operator")
async def test_the_api_server_says_why(world: World) -> None:
    mounts = [{"name": "a", "mountPath": "/etc/imagejob"}]
    await world.create("flowers", template={"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": mounts})
    assert "must be unique" in await world.condition("flowers", "Stalled", "ObjectRefused", REASON_SECONDS)


@pytest.mark.usefixtures("operator")
async def test_a_name_that_is_taken(world: World) -> None:
    await world.api.create(
        CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "flowers", "namespace": world.namespace}}
    )
    await world.create("flowers")
    assert "ConfigMap flowers" in await world.condition("flowers", "Stalled", "NameTaken", REASON_SECONDS)


@pytest.mark.usefixtures("operator")
async def test_a_job_that_waits_for_kueue_is_left_alone(world: World) -> None:
    job = {"apiVersion": IMAGE_JOB.api_version, "kind": "ImageJob"}
    metadata = {"name": "flowers", "namespace": world.namespace, "labels": {"kueue.x-k8s.io/queue-name": "gpus"}}
    spec = (await world.create("template", suspend=True))["spec"]
    await world.api.create(IMAGE_JOB, {**job, "metadata": metadata, "spec": {**spec, "suspend": False}})
    await world.condition("flowers", "Suspended", "Queued", REASON_SECONDS)
    assert "startTime" not in await world.status("flowers")
    await world.api.patch(JOB, "flowers", world.namespace, {"spec": {"suspend": False}})  # Kueue admits it
    await world.running_pods("flowers", 2)
    await world.until(lambda: world.status("flowers"), lambda status: "startTime" in status)


@pytest.mark.usefixtures("operator")
async def test_many_jobs_at_once(world: World) -> None:
    names = [f"job-{number}" for number in range(20)]
    await asyncio.gather(*(world.create(name, source={"urls": [{"url": "https://photos.example/1.jpg"}]}) for name in names))
    for name in names:
        (pod,) = await world.running_pods(name, 1)
        await world.end_pod(pod, result=summary(1))
    for name in names:
        await world.phase(name, "Succeeded")

"""What must not matter to ImageJobs: restarts, kills at any moment, and the mistakes of others."""

import asyncio
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from imagejob_api.pod import ANNOTATION_PROGRESS, LABEL_JOB, PlanReport, PodImages, PodResult, SummaryReport
from imagejob_operator.imagejobs.caches import Caches
from imagejob_operator.imagejobs.controller import KIND, ImageJobController
from imagejob_operator.kubernetes import KubernetesApi, NotFoundError, RefusedError, connect
from imagejob_operator.kubernetes.kinds import (
    CONFIG_MAP,
    EVENT,
    IMAGE_JOB,
    JOB,
    LEASE,
    NODE,
    NODE_LIMIT,
    POD,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
    Kind,
)
from imagejob_operator.manifest import Json
from imagejob_operator.settings import Settings
from nodelease import LeaseState
from nodelease.codec import decode
from nodelease.constants import ANNOTATION_HOLDERS, ANNOTATION_SLOTS
from nodelease.exceptions import MalformedLeaseError
from nodelease.kubernetes.names import lease_name
from nodelease.kubernetes.objects import new_lease
from tests.cluster.control_plane import ControlPlane
from tests.integration.operator.imagejobs_harness import CRDS, LEASES, NODES, Plane, World

pytestmark = pytest.mark.integration

FINISHED_JOBS = 200
WITH_PODS = 20
"""Of these, as many as have run, and have a Job and a pod."""
LEAST_WRITES = 10
"""Of the first life in a namespace: three for the pods' rights, the ConfigMap, two Jobs, the status and Events."""
OTHERS_SECONDS = 30.0
PLANNED = PodResult(plan=PlanReport(total=10, shards=2, chunk_size=5))
SUMMARY = PodResult(images=PodImages(succeeded=10), summary=SummaryReport(total=10, succeeded=10, failed=0, skipped=0, within_policy=True))


async def test_a_restart_over_finished_jobs_writes_nothing(plane: Plane, world: World) -> None:
    plane.start_operator()
    for number in range(WITH_PODS):
        await world.create(f"done-{number}", source={"urls": [{"url": "https://photos.example/1.jpg"}]})
    await asyncio.gather(*(world.create(f"job-{number}", cancel=True) for number in range(FINISHED_JOBS - WITH_PODS)))
    for number in range(WITH_PODS):
        (pod,) = await world.running_pods(f"done-{number}", 1)
        await world.end_pod(pod, result=SUMMARY)

    async def unfinished() -> int:
        jobs = await world.api.list(IMAGE_JOB, world.namespace)
        return FINISHED_JOBS - sum("completionTime" in job.get("status", {}) for job in jobs)

    await world.until(unfinished, lambda count: count == 0)
    assert plane.stop_operator() == 0
    before = plane.writes()
    plane.start_operator()
    await world.create("later", cancel=True)
    await world.phase("later", "Cancelled")  # the operator has come to know all jobs before it has acted on this one
    assert not [
        write
        for write in plane.writes()[len(before) :]
        if f"/{world.namespace}/" in write and "later" not in write and "events" not in write
    ]
    # Each job's end, the start of those with pods, and the later one.
    assert len(plane.writes(f"/{world.namespace}/events")) == FINISHED_JOBS + WITH_PODS + 1


class KilledError(BaseException):
    """The operator ends here; nothing in it may catch this."""


class SteppingOperator:
    """The operator's reconciles in this process, so that it can be killed right after a write.

    It lists where the real one watches, and knows nothing but what the API server says.
    """

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self._queued: dict[tuple[str, str], None] = {}
        settings = Settings(namespace=LEASES, watch_namespaces=(namespace,), status_seconds=0.01)
        self._caches = Caches(api, settings.watch_namespaces, lambda namespace, name, _within: self._queued.setdefault((namespace, name)))
        self._controller = ImageJobController(api, self._caches, settings, limits=None)

    async def step(self) -> None:
        """Looks at everything, and does what there is to do."""
        for cache in (self._caches.image_jobs, self._caches.pipelines, self._caches.jobs, self._caches.pods):
            await cache.listing.relist()
        for name in self._caches.image_jobs.names():
            self._queued.setdefault(name)
        for name in list(self._queued):
            del self._queued[name]
            await self._controller.reconcile((KIND, *name))


class Killing:
    """Counts writes, and kills the operator after one of them: it is done, and nobody hears of it."""

    def __init__(self, api: KubernetesApi) -> None:
        self.writes = 0
        self.kill_after = 0
        self._send = api._transport
        api._transport = self

    async def __call__(
        self, method: str, path: str, query: Mapping[str, str], body: Json | None, content_type: str, timeout_seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        answer = await self._send(method, path, query, body, content_type, timeout_seconds)
        if method != "GET":
            self.writes += 1
            if self.writes == self.kill_after:
                raise KilledError
        return answer


@contextmanager
def own_namespace(plane: Plane, world: World, name: str) -> Iterator[World]:
    """A namespace where nothing has been made yet, the rights of pods included."""
    namespace = f"{world.namespace}-{name}"
    plane.control_plane.kubectl("create", "namespace", namespace)
    try:
        yield World(world.api, namespace)
    finally:
        plane.control_plane.kubectl("delete", "namespace", namespace, "--wait=false")


async def live(world: World, api: KubernetesApi, name: str = "flowers") -> list[str]:
    """Runs a job to its end, with a new operator wherever one is killed; returns what there is then."""
    await world.create(name, source={"prefix": {"url": "s3://photos/"}})
    operator = SteppingOperator(api, world.namespace)
    pods = asyncio.create_task(world.work(name, SUMMARY, total=2, planned=PLANNED))
    try:

        async def finished() -> Json:
            nonlocal operator
            try:
                await operator.step()
            except KilledError:
                operator = SteppingOperator(api, world.namespace)
            return await world.status(name)

        await world.until(finished, lambda status: "completionTime" in status)
        await pods
    finally:
        pods.cancel()
    return await comparable(world, name)


async def comparable(world: World, name: str) -> list[str]:
    """All that a job has left behind, but for times, names and uids that are made up."""
    found = [await world.api.get(IMAGE_JOB, name, world.namespace)]
    for kind in (JOB, POD, CONFIG_MAP):
        found += await world.api.list(kind, world.namespace, label_selector=f"{LABEL_JOB}={name}")
    texts = [json.dumps({key: thing[key] for key in ("kind", "spec", "status", "data") if key in thing}, sort_keys=True) for thing in found]
    # A busy machine may bring about a warning that its nodes do not answer; that is not the operator's doing.
    selector = f"involvedObject.kind=ImageJob,involvedObject.name={name},type=Normal"
    events = await world.api.list(EVENT, world.namespace, field_selector=selector)
    texts += [f"{event['reason']}: {event['message']}" for event in events]
    account = Settings().runner_service_account
    bindings = (world.namespace, account), (LEASES, f"{account}.{world.namespace}")
    texts += [json.dumps((await world.api.get(SERVICE_ACCOUNT, account, world.namespace)).get("automountServiceAccountToken"))]
    texts += [json.dumps((await world.api.get(ROLE_BINDING, binding, place))["subjects"]) for place, binding in bindings]
    return sorted(_without_what_is_made_up(text.replace(world.namespace, "NAMESPACE"), name) for text in texts)


def _without_what_is_made_up(text: str, name: str) -> str:
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID", text)
    text = re.sub(r"20\d\d-\d\d-\d\dT[0-9:.]+Z", "TIME", text)
    text = re.sub(r"node-[12]", "NODE", text)
    text = re.sub(r"kube-api-access-\w+|imagejob-runner-token-\w+", "TOKEN", text)
    return text.replace(name, "NAME")


async def test_a_kill_after_any_write_comes_to_the_same_end(plane: Plane, world: World) -> None:
    plane.stop_operator()
    connection = await connect("imagejob-operator")
    killing = Killing(connection.api)
    try:
        with own_namespace(plane, world, "whole") as own:
            expected = await live(own, connection.api)
        for number in itertools.count(1):
            killing.writes, killing.kill_after = 0, number
            with own_namespace(plane, world, str(number)) as own:
                assert await live(own, connection.api) == expected, f"killed after write {number}"
            if killing.writes < number:  # the life was over before, so that it has been killed after each of its writes
                break
        assert number > LEAST_WRITES
    finally:
        await connection.api.close()


MALFORMED = {
    "text": "a text",
    "nothing": {},
    "numbers": {"source": {"urls": 5}, "parallelism": "many", "output": []},
    "deep": {"source": {"prefix": {"url": {"url": {"url": []}}}}, "pipeline": {"steps": [[[{}]]]}, "template": {"env": "A=b"}},
}


async def test_malformed_jobs_that_are_there_at_the_start_stop_nobody(plane: Plane, world: World) -> None:
    plane.stop_operator()
    with_no_schema(plane.control_plane)
    for name, spec in MALFORMED.items():
        await world.until(lambda name=name, spec=spec: created(world, name, spec), bool)
    with_schema(plane.control_plane)

    plane.start_operator()
    await world.create("flowers")
    await world.until(lambda: world.pods("flowers", "Running"), lambda pods: len(pods) == 2, OTHERS_SECONDS)
    for name in MALFORMED:  # by an Event, since the API server takes no status of an object that its schema does not allow

        async def events(name: str = name) -> list[str]:
            selector = f"involvedObject.kind=ImageJob,involvedObject.name={name}"
            return [event["reason"] for event in await world.api.list(EVENT, world.namespace, field_selector=selector)]

        await world.until(events, lambda reasons: reasons == ["InvalidSpec"], OTHERS_SECONDS)
    for name in MALFORMED:  # so that the namespace can go
        await world.api.delete(IMAGE_JOB, name, world.namespace)


SPOILT_PROGRESS = ("{", '["x"]', '{"images": {"succeeded": "many"}}', "9" * 5000)
SPOILT_LEASES = ((ANNOTATION_HOLDERS, "{"), (ANNOTATION_SLOTS, "many"))
"""For each node: nobody can tell who holds a slot; and the same, but for what the operator itself writes there."""


async def test_malformed_annotations_that_are_there_at_the_start_stop_nobody(plane: Plane, world: World) -> None:
    plane.start_operator()
    await world.create("spoilt", parallelism=len(SPOILT_PROGRESS))
    pods = await world.running_pods("spoilt", len(SPOILT_PROGRESS))
    plane.stop_operator()
    for pod, progress in zip(pods, SPOILT_PROGRESS, strict=True):
        patch: Json = {"metadata": {"annotations": {ANNOTATION_PROGRESS: progress}}}
        await world.api.patch(POD, pod["metadata"]["name"], world.namespace, patch)
    limit = world.namespace
    for node, (annotation, text) in zip(NODES, SPOILT_LEASES, strict=True):
        uid = (await world.api.get(NODE, node))["metadata"]["uid"]
        lease = new_lease(limit, node, node_uid=uid, namespace=LEASES, state=LeaseState(1))
        lease["metadata"]["annotations"][annotation] = text
        await world.api.create(LEASE, lease)
    new = {"apiVersion": NODE_LIMIT.api_version, "kind": NODE_LIMIT.kind, "metadata": {"name": limit}, "spec": {"slots": 1}}
    await world.api.create(NODE_LIMIT, new)

    plane.start_operator()
    await world.create("flowers")
    await world.until(lambda: world.pods("flowers", "Running"), lambda pods: len(pods) == 2, OTHERS_SECONDS)

    async def state(node: str) -> LeaseState | None:
        try:
            return decode(await world.api.get(LEASE, lease_name(limit, node), LEASES))
        except MalformedLeaseError:
            return None

    await world.until(lambda: state(NODES[1]), lambda found: found is not None and found.slots == 1, OTHERS_SECONDS)
    await world.work("spoilt", SUMMARY)
    await world.phase("spoilt", "Succeeded")
    await world.api.delete(NODE_LIMIT, limit)
    for node in NODES:
        await world.api.delete(LEASE, lease_name(limit, node), LEASES)


async def created(world: World, name: str, spec: object) -> bool:
    """Whether the API server takes an ImageJob; a new schema takes a moment until it counts."""
    metadata = {"name": name, "namespace": world.namespace}
    try:
        await world.api.create(IMAGE_JOB, {"apiVersion": IMAGE_JOB.api_version, "kind": "ImageJob", "metadata": metadata, "spec": spec})
    except RefusedError:
        return False
    return True


def with_no_schema(control_plane: ControlPlane) -> None:
    """Lets the API server take any ImageJob, as an older version of the CRD may have."""
    versions = json.loads(control_plane.kubectl("get", "crd", "imagejobs.imagejob.dev", "-o", "json"))["spec"]["versions"]
    anything = {"x-kubernetes-preserve-unknown-fields": True}
    versions[0]["schema"] = {"openAPIV3Schema": {"type": "object", "properties": {"spec": anything, "status": anything}}}
    text = json.dumps({"spec": {"versions": versions}})
    control_plane.kubectl("patch", "crd", "imagejobs.imagejob.dev", "--type=merge", "-p", text)


def with_schema(control_plane: ControlPlane) -> None:
    """Puts the project's schema back."""
    control_plane.kubectl("replace", "-f", str(CRDS / "imagejobs.yaml"))


async def test_what_was_made_for_pods_is_made_again_at_once_and_the_job_goes_on(operator: Plane, world: World) -> None:
    del operator
    await world.create("flowers")
    await world.running_pods("flowers", 2)
    account = Settings().runner_service_account
    made = (
        (CONFIG_MAP, "flowers", world.namespace),
        (SERVICE_ACCOUNT, account, world.namespace),
        (ROLE_BINDING, account, world.namespace),
        (ROLE_BINDING, f"{account}.{world.namespace}", LEASES),
    )
    for kind, name, namespace in made:
        before = await world.api.get(kind, name, namespace)
        await world.api.delete(kind, name, namespace)

        async def uid(kind: Kind = kind, name: str = name, namespace: str = namespace) -> str:
            try:
                return str((await world.api.get(kind, name, namespace))["metadata"]["uid"])
            except NotFoundError:
                return ""

        old = before["metadata"]["uid"]
        await world.until(uid, lambda found, old=old: found not in ("", old), OTHERS_SECONDS)
        again = await world.api.get(kind, name, namespace)
        assert {key: again.get(key) for key in ("data", "subjects", "roleRef")} == {
            key: before.get(key) for key in ("data", "subjects", "roleRef")
        }
    await world.work("flowers", SUMMARY)
    await world.phase("flowers", "Succeeded")

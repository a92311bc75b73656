"""The operator as a process on a real API server, where kwok plays the kubelets and a test plays what runs in the pods."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from imagejob_api.pod import ANNOTATION_PROGRESS, LABEL_JOB, LABEL_PART, RUNNER_CONTAINER, Part, PodProgress, PodResult
from imagejob_operator.constants import ANNOTATION_INDEX
from imagejob_operator.kubernetes import KubernetesApi, NotFoundError
from imagejob_operator.kubernetes.kinds import IMAGE_JOB, JOB, NODE, POD
from imagejob_operator.manifest import Json
from tests.cluster.control_plane import ControlPlane, Options, run_control_plane
from tests.cluster.processes import Child

T = TypeVar("T")

SECONDS: Final = 90.0
NODES: Final = ("node-1", "node-2")
LEASES: Final = "imagejob-system"
CRDS: Final = Path(__file__).parents[3] / "crds"
_OPERATOR: Final = Path(sys.executable).with_name("imagejob-operator")
_LOOK_AGAIN_SECONDS: Final = 0.1
_AUDIT_POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]}, {"level": "None"}],
}


class Plane:
    """A control plane with two simulated nodes, and the operator beside it."""

    def __init__(self, control_plane: ControlPlane, audit_log: Path) -> None:
        self.control_plane = control_plane
        self._audit_log = audit_log
        self._operator: Child | None = None

    @property
    def operator_runs(self) -> bool:
        return self._operator is not None and not self._operator.has_ended(within=0)

    def start_operator(self, *flags: str) -> None:
        """Starts the operator; it is there when the first reconcile comes."""
        self.stop_operator()
        self._operator = self.control_plane.run("operator", [str(_OPERATOR), "--port=0", *flags])

    def stop_operator(self) -> int:
        """Ends the operator as Kubernetes does; returns its exit code."""
        if self._operator is None:
            return 0
        self._operator.process.terminate()
        code = self._operator.process.wait(30)
        self._operator = None
        return code

    def writes(self, part_of_uri: str = "") -> list[str]:
        """What the operator has written, by the API server's own account."""
        found = []
        for line in self._audit_log.read_text().splitlines():
            entry = json.loads(line)
            if entry["userAgent"].startswith(("imagejob-operator", "kopf")) and part_of_uri in entry["requestURI"]:
                found.append(f"{entry['verb']} {entry['requestURI']} {entry['responseStatus']['code']}")
        return found


@contextmanager
def running_plane(folder: Path) -> Iterator[Plane]:
    """A control plane with the project's kinds and two nodes, and an audit log of all writes."""
    policy, log = folder / "audit-policy.json", folder / "audit.log"
    policy.write_text(json.dumps(_AUDIT_POLICY))
    log.touch()
    arguments = [f"--audit-policy-file={policy}", f"--audit-log-path={log}"]
    with run_control_plane(Options(controllers=False, apiserver_args=arguments)) as control_plane:
        kubectl = control_plane.kubectl
        kubectl("apply", "-f", str(CRDS))
        kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        control_plane.start_controllers()  # now, so that the garbage collector knows our kinds from the beginning
        kubectl("create", "namespace", LEASES)
        for name in NODES:
            resources = {"cpu": "16", "memory": "64Gi", "pods": "250"}
            metadata = {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"}}
            node = {"apiVersion": "v1", "kind": NODE.kind, "metadata": metadata}
            kubectl("apply", "-f", "-", stdin=json.dumps({**node, "status": {"allocatable": resources, "capacity": resources}}))
        control_plane.simulate_nodes()
        plane = Plane(control_plane, log)
        yield plane
        plane.stop_operator()


def image_job(name: str, namespace: str, **spec: object) -> Json:
    """A job of ten images in five shards that needs no GPU."""
    complete = {
        "source": {"urls": [{"url": f"https://photos.example/{index}.jpg"} for index in range(10)]},
        "pipeline": {"steps": [{"name": "download", "download": {}}, {"name": "save", "save": {}}]},
        "output": {"url": "s3://results/flowers"},
        "gpu": {"sharing": "none"},
        "chunkSize": 2,
        "parallelism": 2,
        **spec,
    }
    given = {key: value for key, value in complete.items() if value is not None}
    return {
        "apiVersion": IMAGE_JOB.api_version,
        "kind": IMAGE_JOB.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": given,
    }


class World:
    """One namespace: what users do there, and what runs in the pods."""

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    async def until(self, ask: Callable[[], Awaitable[T]], good: Callable[[T], bool], seconds: float = SECONDS) -> T:
        """Asks until the answer is good; returns it."""
        deadline = time.monotonic() + seconds
        while True:
            answer = await ask()
            if good(answer):
                return answer
            assert time.monotonic() < deadline, f"after {seconds:.0f} s still {answer}"
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def create(self, name: str, **spec: object) -> Json:
        return await self.api.create(IMAGE_JOB, image_job(name, self.namespace, **spec))

    async def change(self, name: str, **spec: object) -> None:
        await self.api.patch(IMAGE_JOB, name, self.namespace, {"spec": spec})

    async def status(self, name: str) -> Json:
        status: Json = (await self.api.get(IMAGE_JOB, name, self.namespace))["status"]
        return status

    async def condition(self, name: str, kind: str, reason: str, seconds: float = SECONDS) -> str:
        """Waits for a condition with a reason; returns its message."""

        async def ask() -> dict[str, tuple[str, str]]:
            return {each["type"]: (each["reason"], each.get("message", "")) for each in (await self.status(name)).get("conditions", ())}

        found = await self.until(ask, lambda conditions: conditions.get(kind, ("",))[0] == reason, seconds)
        return found[kind][1]

    async def phase(self, name: str, phase: str) -> Json:
        return await self.until(lambda: self.status(name), lambda status: status.get("phase") == phase)

    async def job(self, name: str) -> Json | None:
        try:
            return await self.api.get(JOB, name, self.namespace)
        except NotFoundError:
            return None

    async def pods(self, name: str, *phases: str) -> list[Json]:
        """The pods of an ImageJob that are in one of some phases, and not on their way out."""
        pods = await self.api.list(POD, self.namespace, label_selector=f"{LABEL_JOB}={name}")
        return [pod for pod in pods if pod["status"].get("phase") in phases and "deletionTimestamp" not in pod["metadata"]]

    async def running_pods(self, name: str, count: int) -> list[Json]:
        return await self.until(lambda: self.pods(name, "Running"), lambda pods: len(pods) == count)

    async def report(self, pod: Json, progress: PodProgress) -> None:
        """A pod reports its progress."""
        patch: Json = {"metadata": {"annotations": {ANNOTATION_PROGRESS: progress.encoded()}}}
        await self.api.patch(POD, pod["metadata"]["name"], self.namespace, patch)

    async def end_pod(self, pod: Json, code: int = 0, result: PodResult | None = None) -> None:
        """A pod ends; it may be on its way out already."""
        terminated: Json = {
            "exitCode": code,
            "reason": "Completed" if code == 0 else "Error",
            "startedAt": pod["status"]["startTime"],
            "finishedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "message": result.encoded() if result is not None else "",
        }
        container: Json = {"name": RUNNER_CONTAINER, "image": "x", "imageID": "", "ready": False, "restartCount": 0}
        status: Json = {
            "phase": "Succeeded" if code == 0 else "Failed",
            "containerStatuses": [{**container, "state": {"terminated": terminated}}],
        }
        try:
            await self.api.patch(POD, pod["metadata"]["name"], self.namespace, {"status": status}, subresource="status")
        except NotFoundError:
            return

    async def wait_in(self, pod: Json, reason: str, message: str) -> None:
        """A pod's container does not start, in the kubelet's words."""
        container: Json = {"name": RUNNER_CONTAINER, "image": "x", "imageID": "", "ready": False, "restartCount": 0}
        state = {"waiting": {"reason": reason, "message": message}}
        status: Json = {"phase": "Pending", "containerStatuses": [{**container, "state": state}]}
        await self.api.patch(POD, pod["metadata"]["name"], self.namespace, {"status": status}, subresource="status")

    async def work(self, name: str, last: PodResult, *, total: int = 5, planned: PodResult | None = None) -> None:
        """Runs the pods of a job to its end: the plan's, if it has one, and `total` for the work.

        The last one has the summary. Pods that begin together end in the order of their indexes, whichever runs first.
        """
        done: set[str] = set()
        deadline = time.monotonic() + SECONDS
        while len(done) < total:
            assert time.monotonic() < deadline, f"{len(done)} of {total} pods have ended"
            for pod in await self.pods(name, "Running"):
                if pod["metadata"]["labels"][LABEL_PART] == Part.PLAN.label:
                    await self.end_pod(pod, result=planned)
                    continue
                if int(pod["metadata"]["annotations"][ANNOTATION_INDEX]) == total - 1 > len(done):
                    continue
                done.add(pod["metadata"]["uid"])
                await self.end_pod(pod, result=last if len(done) == total else None)
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

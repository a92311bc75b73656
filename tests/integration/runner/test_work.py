"""The runner's command with a real API server: slots from the node's Lease, progress on its own pod, and what a missing limit says."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagejob_api.pod import ANNOTATION_PROGRESS, PodProgress, RunnerExit
from nodelease import LeaseClient
from nodelease.kubernetes.objects import new_lease
from nodelease.state import LeaseState
from tests.cluster.control_plane import ControlPlane
from tests.process.harness import Lab, call, eventually, inputs
from tests.process.pods import Pod, Pods, executed

NODE, IMAGES, CHUNK = "node-1", 60, 8


class Team:
    """A namespace with two pods of a job, which run here and not on a node, and with the Leases of one."""

    def __init__(self, plane: ControlPlane, namespace: str, pods: Pods) -> None:
        self.plane, self.namespace, self.pods = plane, namespace, pods
        for index in range(2):
            self.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"job-{index}"}, "spec": self._spec()})

    @staticmethod
    def _spec() -> dict[str, Any]:
        return {"schedulingGates": [{"name": "imagejob.dev/stays-without-a-node"}], "containers": [{"name": "runner", "image": "runner"}]}

    def create(self, thing: dict[str, Any]) -> None:
        self.plane.kubectl("create", f"--namespace={self.namespace}", "-f", "-", stdin=json.dumps(thing))

    def make_lease(self, limit: str, slots: int) -> None:
        lease = new_lease(limit, NODE, node_uid="none", namespace=self.namespace, state=LeaseState(slots=slots))
        del lease["metadata"]["ownerReferences"]  # there is no such Node, and what it owns would be collected
        self.create(lease)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.plane.kubectl("get", kind, name, f"--namespace={self.namespace}", "-o", "json"))
        return found

    def progress(self, index: int) -> PodProgress | None:
        text = self.get("pod", f"job-{index}")["metadata"].get("annotations", {}).get(ANNOTATION_PROGRESS)
        return PodProgress.model_validate_json(text) if text else None

    def start(self, job: Path, index: int) -> Pod:
        self.pods.lab.environment |= {
            "KUBECONFIG": str(self.plane.kubeconfig),
            "IMAGEJOB_POD_NAMESPACE": self.namespace,
            "IMAGEJOB_POD_NAME": f"job-{index}",
            "IMAGEJOB_NODE_NAME": NODE,
            "IMAGEJOB_LEASE_NAMESPACE": self.namespace,
            "IMAGEJOB_PROGRESS_SECONDS": "0.2",
        }
        return self.pods.start("work", job, index=index, of=2)


@pytest.fixture
def team(cluster: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Team]:
    runtime = Path(tempfile.mkdtemp(prefix="imagejob-"))
    lab = Lab(tmp_path, runtime)
    yield Team(cluster, namespace, Pods(lab))
    lab.close()
    shutil.rmtree(runtime, ignore_errors=True)


def test_pods_take_turns_and_tell_how_far_they_are(team: Team) -> None:
    log = team.pods.lab.folder / "log"
    steps = [call("work", "note", limit="gpu", hold="50ms", arguments={"log": str(log), "seconds": 0.02})]
    job = team.pods.job(steps, inputs(IMAGES), chunkSize=CHUNK, parallelism=2)
    pair = [team.start(job, index) for index in range(2)]
    eventually("both have images at the limit", lambda: all(progress and progress.waiting for progress in map(team.progress, (0, 1))))
    team.make_lease("gpu", 1)
    eventually(
        "a pod tells that it is on its way", lambda: any(progress and progress.images.done for progress in map(team.progress, (0, 1)))
    )
    ended = [pod.wait().expect(RunnerExit.DONE) for pod in pair]
    assert sum(pod.result.images.succeeded for pod in ended) == IMAGES
    for index, pod in enumerate(ended):
        last = team.progress(index)
        assert last is not None
        assert (last.images, last.holding, last.waiting, last.reason) == (pod.result.images, 0, 0, "")
    lease = team.get("lease", NODE)
    assert lease["spec"]["leaseTransitions"] > 2
    assert lease["metadata"]["annotations"]["imagejob.dev/holders"] == "[]"
    team.pods.lab.output().prove()
    assert {hold["node"] for hold in holds(team.pods.lab.output().folder)} == {NODE}


def test_a_pod_of_a_job_with_higher_priority_stands_first_and_goes_first(team: Team) -> None:
    team.make_lease("gpu", 1)
    steps = [call("work", "note", limit="gpu", arguments={"log": str(team.pods.lab.folder / "log")})]
    priorities = {"low": -3, "high": 7}
    pods: list[Pod] = []
    with LeaseClient.kubernetes(pod="tests/first", node=NODE, namespace=team.namespace, kubeconfig=team.plane.kubeconfig) as first:
        first.acquire_blocking("gpu")
        for index, (name, priority) in enumerate(priorities.items()):
            job = team.pods.job(steps, inputs(2), name=name, priority=priority, chunkSize=1, parallelism=2)
            pods.append(team.start(job, index))
            eventually(f"the pod of the job {name} queues", lambda: len(first.status("gpu").queue) == len(pods))
        queue = [(waiter.pod, waiter.priority) for waiter in first.status("gpu").queue]
    assert queue == [(f"{team.namespace}/job-1", priorities["high"]), (f"{team.namespace}/job-0", priorities["low"])]
    for pod in pods:
        pod.wait().expect(RunnerExit.DONE)
    fences = {name: min(hold["fence"] for hold in holds(team.pods.lab.output(name).folder)) for name in priorities}
    assert fences["high"] == 2, "the first grant after the one that all waited for"
    assert fences["low"] > 2


def test_a_limit_that_is_not_there_is_told(team: Team) -> None:
    log = team.pods.lab.folder / "log"
    job = team.pods.job([call("work", "note", limit="licence", arguments={"log": str(log)})], inputs(4), chunkSize=CHUNK)
    pod = team.start(job, 0)
    eventually("it tells what it waits for", lambda: (progress := team.progress(0)) is not None and "licence" in progress.reason)
    progress = team.progress(0)
    assert progress is not None
    assert progress.waiting > 0
    assert not executed(log)
    team.make_lease("licence", 1)
    pod.wait().expect(RunnerExit.DONE)
    last = team.progress(0)
    assert last is not None
    assert (last.images.succeeded, last.reason) == (4, "")


def test_a_pod_that_may_not_report_works_all_the_same(team: Team) -> None:
    team.make_lease("gpu", 1)
    team.plane.kubectl("delete", "pod", "job-0", f"--namespace={team.namespace}", "--grace-period=0", "--force")
    steps = [call("work", "note", limit="gpu", arguments={"log": str(team.pods.lab.folder / "log")})]
    ended = team.start(team.pods.job(steps, inputs(4)), 0).wait().expect(RunnerExit.DONE)
    assert ended.log.count("Progress cannot be reported") == 1
    assert "404" in ended.log


def holds(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in folder.glob("_imagejob/holds/*.jsonl") for line in file.read_text().splitlines()]

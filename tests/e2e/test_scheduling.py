"""GPUs that workers advertise are handed out by the scheduler, though no kubelet of the cluster has one."""

import pytest

from tests.cluster.cluster import GPU, Cluster
from tests.e2e.pods import Pods
from tests.e2e.waiting import eventually

_ONE_GPU = {"resources": {"limits": {GPU: "1"}}}
_STAY = ["python3", "-c", "import signal; signal.pause()"]


@pytest.fixture
def two_gpus(cluster: Cluster) -> None:
    """Two GPUs on each worker, and all of them free."""
    cluster.advertise_gpus(2)


@pytest.mark.usefixtures("two_gpus")
def test_a_pod_that_wants_a_gpu_runs_on_a_worker(pods: Pods, workers: list[str]) -> None:
    pods.create("one", _STAY, container=_ONE_GPU)
    pods.wait("one", "condition=Ready")
    assert pods.get("one")["spec"]["nodeName"] in workers


@pytest.mark.usefixtures("two_gpus")
def test_a_third_pod_on_a_node_with_two_gpus_waits_until_one_is_free(pods: Pods, workers: list[str]) -> None:
    for name in ("first", "second"):
        pods.create(name, _STAY, node=workers[0], container=_ONE_GPU)
        pods.wait(name, "condition=Ready")

    pods.create("third", _STAY, node=workers[0], container=_ONE_GPU)
    pods.wait("third", "condition=PodScheduled=False")
    third = pods.get("third")
    assert third["status"]["phase"] == "Pending"
    assert f"Insufficient {GPU}" in third["status"]["conditions"][0]["message"]

    pods.kubectl("delete", "pod/first")
    eventually(lambda: pods.get("third")["spec"].get("nodeName"), workers[0])


def test_the_number_of_gpus_can_be_changed(cluster: Cluster, workers: list[str]) -> None:
    cluster.advertise_gpus(5)
    try:
        assert [cluster.get("node", worker)["status"]["allocatable"][GPU] for worker in workers] == ["5", "5"]
    finally:
        cluster.advertise_gpus(2)

"""Nodes come and go."""

from tests.cluster.cluster import GPU, Cluster
from tests.e2e.pods import Pods


def test_a_node_that_was_stopped_and_started_is_ready_and_runs_pods_again(cluster: Cluster, pods: Pods, workers: list[str]) -> None:
    node = workers[1]
    pods.serve("before", node)

    cluster.stop_node(node)
    cluster.start_node(node)

    pods.serve("after", node)
    pods.create("with-gpu", ["true"], node=node, container={"resources": {"limits": {GPU: "1"}}})
    pods.output_of("with-gpu")
    pods.serve("elsewhere", workers[0])
    for source, target in (("after", "elsewhere"), ("elsewhere", "after")):
        address = pods.get(target)["status"]["podIP"]
        assert pods.fetch(source, f"http://{address}:8080/") == target

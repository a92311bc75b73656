"""The cluster's network: names, pods across nodes, services."""

from functools import partial

import pytest

from tests.cluster.cluster import Cluster
from tests.e2e.pods import PORT, Pods
from tests.e2e.waiting import eventually

_LOOK_UP = """
import socket, sys, time
start = time.monotonic()
try:
    answer = socket.gethostbyname(sys.argv[1])
except OSError:
    answer = "none"
print(answer, time.monotonic() - start)
"""


@pytest.fixture
def servers(pods: Pods, workers: list[str]) -> dict[str, str]:
    """A pod that answers on each worker: its name, by the worker."""
    names = {worker: f"server-{number}" for number, worker in enumerate(workers)}
    for worker, name in names.items():
        pods.serve(name, worker)
    return names


def test_pods_on_both_workers_reach_the_api_server_by_its_name(pods: Pods, servers: dict[str, str]) -> None:
    for name in servers.values():
        status, answer = pods.ask_api_server(name, "GET", "/version")
        assert (status, answer["major"]) == (200, "1")


def test_a_name_that_does_not_exist_is_refused_soon(pods: Pods, servers: dict[str, str]) -> None:
    """Whatever CoreDNS asks for names outside of the cluster, it must not hang: programs look such names up without being told to."""
    for name in servers.values():
        answer, seconds = pods.execute(name, "python3", "-c", _LOOK_UP, "images.invalid").split()
        assert answer == "none"
        assert float(seconds) < 1


def test_pods_reach_each_other_across_nodes(pods: Pods, servers: dict[str, str]) -> None:
    first, second = servers.values()
    for source, target in ((first, second), (second, first)):
        address = pods.get(target)["status"]["podIP"]
        assert pods.fetch(source, f"http://{address}:{PORT}/") == target


def test_a_service_works_from_pods_and_from_every_node(cluster: Cluster, pods: Pods, servers: dict[str, str], workers: list[str]) -> None:
    # Its only backend is on one worker: everybody else must come there through the service's address.
    backend = servers[workers[0]]
    pods.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "one"},
            "spec": {"selector": {"app": backend}, "ports": [{"port": 80, "targetPort": PORT}]},
        }
    )
    for name in servers.values():
        eventually(partial(pods.fetch, name, "http://one/"), backend)

    address = pods.kubectl("get", "service/one", "--output=jsonpath={.spec.clusterIP}")
    for node in cluster.nodes():
        eventually(partial(_fetch_from_node, cluster, node, address), backend)


def _fetch_from_node(cluster: Cluster, node: str, address: str) -> str:
    # Every node has bash.
    ask = f"exec 3<>/dev/tcp/{address}/80 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && timeout 5 cat <&3"
    return cluster.engine.docker("exec", node, "bash", "-c", ask).rpartition("\n")[2]

"""`kubectl imagejob limits` on a real API server."""

import json
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.integration.cli.jobs import lease
from tests.tools.plugin import Plugin
from tests.unit.api.objects import Json, node_limit

pytestmark = pytest.mark.integration


@pytest.fixture
def limits(cluster: ControlPlane) -> Iterator[Callable[[Json], str]]:
    cluster.kubectl("delete", "nodelimits", "--all")
    yield lambda limit: cluster.kubectl("apply", "-f", "-", stdin=json.dumps(limit))
    cluster.kubectl("delete", "nodelimits", "--all")


def words(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip("─ ")]


def test_holders_and_queue(plugin: Plugin, limits: Callable[[Json], str], leases: Callable[[Json], str]) -> None:
    limits(node_limit(slots=2))
    limits(node_limit("licence", slots=1))
    leases(lease("gpu", "worker-1", holders=("a/x", "a/y"), queue=("b/z", "a/v")))
    leases(lease("gpu", "worker-2"))
    assert words(plugin("limits").expect(0).out) == [
        "LIMIT NODE SLOTS HELD WAITING HOLDERS",
        "gpu worker-1 2 2 2 a/x (slot 0)",
        "a/y (slot 1)",
        "gpu worker-2 2 0 0",
        "licence no node has it",
    ]
    queue = words(plugin("limits", "gpu", "--queue").expect(0).out)
    assert queue[0].endswith("HOLDERS QUEUE")
    assert queue[1:3] == ["gpu worker-1 2 2 2 a/x (slot 0) 1. b/z", "a/y (slot 1) 2. a/v"]


def test_a_malformed_lease_is_said_and_hides_nothing(plugin: Plugin, limits: Callable[[Json], str], leases: Callable[[Json], str]) -> None:
    limits(node_limit())
    broken = lease("gpu", "worker-1")
    broken["metadata"]["annotations"]["imagejob.dev/holders"] = '[{"slot": 0}]'
    leases(broken)
    leases(lease("gpu", "worker-2", holders=("a/x",)))
    said = plugin("limits").expect(0)
    assert "the Lease cannot be read: annotation imagejob.dev/holders[0].id must be a string" in " ".join(said.out.split())
    assert "a/x (slot 0)" in said.out
    assert said.err == ""
    found = json.loads(plugin("limits", "--json").expect(0).out)
    (gpu,) = found["limits"]
    assert ["problem" in node for node in gpu["nodes"]] == [True, False]


def test_a_name_that_is_not_there(plugin: Plugin, limits: Callable[[Json], str]) -> None:
    limits(node_limit())
    assert plugin("limits", "gpus").expect(2).err == "Error: there is no NodeLimit gpus; did you mean gpu?\n"


def test_without_any(plugin: Plugin, limits: Callable[[Json], str], cluster: ControlPlane) -> None:
    limits(node_limit())
    cluster.kubectl("delete", "nodelimits", "--all")
    assert "No NodeLimits in this cluster" in plugin("limits").expect(0).out


def test_a_right_to_the_leases_alone_is_enough(
    plugin: Plugin, limits: Callable[[Json], str], cluster: ControlPlane, namespace: str
) -> None:
    limits(node_limit("licence", slots=1))
    cluster.kubectl("create", "role", "-n", namespace, "viewer", "--verb=get,list,watch", "--resource=leases.coordination.k8s.io")
    cluster.kubectl("create", "rolebinding", "-n", namespace, "viewer", "--role=viewer", "--user=lea")
    command, lea = ("limits", "--operator-namespace", namespace), cluster.kubeconfig_for("lea")
    refusal = "lea may not list nodelimits.imagejob.dev (they are in no namespace). Ask for the role imagejob-viewer, bound cluster-wide."
    assert plugin(*command, kubeconfig=lea).expect(3).err == f"Error: {refusal}\n"
    held = lease("gpu", "worker-1", holders=("a/x",))
    held["metadata"]["namespace"] = namespace
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(held))
    said = plugin(*command, kubeconfig=lea).expect(0)
    assert words(said.out) == ["LIMIT NODE SLOTS HELD WAITING HOLDERS", "gpu worker-1 2 1 0 a/x (slot 0)"]
    assert said.err == f"note: only limits that a node has are shown: {refusal}\n"
    (gpu,) = json.loads(plugin(*command, "--json", kubeconfig=lea).expect(0).out)["limits"]
    assert (gpu["active"], gpu["defined"], gpu["nodes"][0]["held"]) == (None, None, 1)
    assert "no node has a limit gpus; did you mean gpu?" in plugin(*command, "gpus", kubeconfig=lea).expect(2).err
    cluster.kubectl("delete", "lease", "-n", namespace, "--all")  # other tests count the namespaces that have Leases


def test_leases_of_somebody_else_are_not_believed(
    plugin: Plugin, limits: Callable[[Json], str], leases: Callable[[Json], str], cluster: ControlPlane, namespace: str
) -> None:
    limits(node_limit())
    leases(lease("gpu", "worker-1", holders=("a/x",)))
    forged = lease("gpu", "worker-9", holders=("evil/x",))
    forged["metadata"]["namespace"] = namespace
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(forged))
    said = plugin("limits").expect(0)
    assert "a/x" in said.out
    assert "evil/x" not in said.out
    assert f"Leases with imagejob's labels are also in {namespace}; choose with --operator-namespace" in said.err
    assert "evil/x" in plugin("limits", "--operator-namespace", namespace).out

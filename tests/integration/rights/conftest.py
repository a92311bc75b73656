"""A control plane with the chart installed by Helm, two nodes, and pods on them whose real tokens the tests use."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import pytest

from nodelease.kubernetes.objects import new_lease
from nodelease.state import LeaseState
from tests.cluster.control_plane import ControlPlane, run_control_plane
from tests.cluster.exceptions import CommandError
from tests.e2e.waiting import eventually
from tests.integration.rights.requester import Json, Requester
from tests.tools.chart import CHART, NAMESPACE, RELEASE, helm

OPERATOR: Final = f"system:serviceaccount:{NAMESPACE}:imagejob-operator"
NODES: Final = ("node-1", "node-2")
JOBS: Final = "team-a"
"""A namespace with ImageJobs."""
RUNNER: Final = "imagejob-runner"


def install(plane: ControlPlane, *flags: str) -> None:
    """Installs the chart, and waits until its policies hold."""
    helm("install", RELEASE, str(CHART), f"--namespace={NAMESPACE}", "--create-namespace", *flags, env=plane.env)
    eventually(lambda: "made and deleted by the imagejob operator alone" in refusal(plane), wanted=True)


def refusal(plane: ControlPlane) -> str:
    """What an administrator is told who makes a Lease of a limit."""
    lease = new_lease("gpu", "nowhere", node_uid="none", namespace=NAMESPACE, state=LeaseState(slots=1))
    try:
        return plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(lease))
    except CommandError as error:
        return str(error)


def make_node(plane: ControlPlane, name: str) -> None:
    """A node, of which there is no more than its object, with the Lease of its GPU."""
    plane.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}))
    uid = plane.kubectl("get", "node", name, "-o", "jsonpath={.metadata.uid}")
    for limit in ("gpu", "disk"):
        lease = new_lease(limit, name, node_uid=uid, namespace=NAMESPACE, state=LeaseState(slots=2))
        plane.kubectl("create", f"--as={OPERATOR}", "-f", "-", stdin=json.dumps(lease))


def make_pod(plane: ControlPlane, namespace: str, name: str, node: str, account: str = RUNNER) -> Requester:
    """A pod bound to a node, and its token."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"imagejob.dev/member": "true"}},
        "spec": {"nodeName": node, "serviceAccountName": account, "containers": [{"name": "runner", "image": "runner:1"}]},
    }
    plane.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    bound = ("--bound-object-kind=Pod", f"--bound-object-name={name}")
    return Requester(plane, plane.kubectl("create", "token", account, f"--namespace={namespace}", *bound).strip())


@dataclass(frozen=True)
class Installed:
    """The control plane, and those who ask it something."""

    plane: ControlPlane
    operator: Requester
    runners: dict[str, Requester] = field(default_factory=dict)
    """By node, the pod ``on-NODE`` there."""

    def lease(self, node: str, limit: str = "gpu") -> tuple[str, Json]:
        """Path and content of a Lease."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{node if limit == 'gpu' else f'{limit}.{node}'}"
        return path, self.operator.get(path)


@pytest.fixture(scope="package")
def installed() -> Iterator[Installed]:
    """The chart as it comes; the service account and the bindings of a namespace with ImageJobs are made with the operator's own token."""
    with run_control_plane() as plane:
        install(plane)
        operator = Requester(plane, plane.kubectl("create", "token", "imagejob-operator", f"--namespace={NAMESPACE}").strip())
        plane.kubectl("create", "namespace", JOBS)
        prepare_namespace(operator, JOBS)
        for node in NODES:
            make_node(plane, node)
        runners = {node: make_pod(plane, JOBS, f"on-{node}", node) for node in NODES}
        yield Installed(plane, operator, runners)


def prepare_namespace(operator: Requester, namespace: str) -> None:
    """Makes, as the operator, what a namespace with ImageJobs has."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": RUNNER}}
    subject = {"kind": "ServiceAccount", "name": RUNNER, "namespace": namespace}
    group = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": f"system:serviceaccounts:{namespace}"}
    bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings"
    answers = (
        operator.ask("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account),
        operator.ask("POST", bindings.format(namespace), role_binding(RUNNER, "ClusterRole", RUNNER, subject)),
        operator.ask("POST", bindings.format(NAMESPACE), role_binding(f"{RUNNER}.{namespace}", "Role", "imagejob-lease-user", group)),
    )
    assert [answer.message for answer in answers] == ["", "", ""]


def role_binding(name: str, kind: str, role: str, subject: Json) -> Json:
    """A RoleBinding of one subject."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [subject],
    }

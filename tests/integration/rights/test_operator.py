"""What the operator's real token is worth, and that nobody else, an administrator included, disturbs the Leases by mistake."""

from http import HTTPStatus
from typing import Final

import pytest

from tests.cluster.exceptions import CommandError
from tests.e2e.waiting import eventually
from tests.integration.rights.conftest import JOBS, NODES, OPERATOR, RUNNER, Installed, make_node, prepare_namespace, refusal, role_binding
from tests.integration.rights.requester import Json
from tests.tools.chart import NAMESPACE

pytestmark = pytest.mark.integration

RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
IMAGEJOB: Final = "/apis/imagejob.dev/v1alpha1"
ACCOUNT: Final = {"kind": "ServiceAccount", "name": RUNNER, "namespace": JOBS}
BOUND: Final = f"{RBAC}/namespaces/{JOBS}/rolebindings"


# --- Leases ---


def test_the_operator_does_with_leases_what_it_must(installed: Installed) -> None:
    make_node(installed.plane, "node-3")  # creates Leases as the operator
    path, lease = installed.lease("node-3")
    lease["metadata"]["annotations"].update({"imagejob.dev/slots": "4", "imagejob.dev/active": "false"})
    lease["spec"]["leaseDurationSeconds"] = 60
    assert installed.operator.ask("PUT", path, lease).status == HTTPStatus.OK
    assert installed.operator.ask("DELETE", path).status == HTTPStatus.OK


def test_a_lease_goes_with_its_node(installed: Installed) -> None:
    """The garbage collector is not kept out."""
    make_node(installed.plane, "node-4")
    path, _ = installed.lease("node-4")
    installed.plane.kubectl("delete", "node", "node-4")
    eventually(lambda: installed.operator.ask("GET", path).status, HTTPStatus.NOT_FOUND)


def test_a_node_can_be_deleted_without_its_leases(installed: Installed) -> None:
    """The garbage collector then takes the owner out of them, which nobody else may do."""
    make_node(installed.plane, "node-5")
    path, _ = installed.lease("node-5")
    installed.plane.kubectl("delete", "node", "node-5", "--cascade=orphan")
    assert "ownerReferences" not in installed.operator.get(path)["metadata"]


def test_an_administrator_is_told_what_to_change_instead(installed: Installed) -> None:
    instead = "the Leases of limits are made and deleted by the imagejob operator alone; create, change or delete the NodeLimit instead"
    assert refusal(installed.plane).endswith(instead)
    with pytest.raises(CommandError) as deletion:
        installed.plane.kubectl("delete", "lease", NODES[0], f"--namespace={NAMESPACE}")
    assert str(deletion.value).endswith(instead)
    with pytest.raises(CommandError, match="the request comes from no pod"):
        installed.plane.kubectl("annotate", "lease", NODES[0], f"--namespace={NAMESPACE}", "--overwrite", "imagejob.dev/slots=9")


# --- binding ---


@pytest.mark.parametrize(
    "binding",
    [
        role_binding("admin", "ClusterRole", "cluster-admin", ACCOUNT),
        role_binding("edit", "ClusterRole", "edit", ACCOUNT),
        role_binding("view", "ClusterRole", "view", ACCOUNT),
        role_binding("editor", "ClusterRole", "imagejob-editor", ACCOUNT),
    ],
    ids=lambda binding: str(binding["metadata"]["name"]),
)
def test_it_binds_no_role_with_rights_that_it_has_not(installed: Installed, binding: Json) -> None:
    answer = installed.operator.ask("POST", BOUND, binding)
    assert answer.status == HTTPStatus.FORBIDDEN
    assert "is attempting to grant RBAC permissions not currently held" in answer.message


def test_it_takes_back_what_it_gave_to_a_namespace_that_is_gone(installed: Installed) -> None:
    """`imagejob_operator.stale_access` says when."""
    operator, bindings = installed.operator, f"{RBAC}/namespaces/{NAMESPACE}/rolebindings"
    installed.plane.kubectl("create", "namespace", "gone")
    prepare_namespace(operator, "gone")
    assert operator.ask("GET", "/api/v1/namespaces/gone").status == HTTPStatus.OK
    found = operator.get(f"{bindings}?labelSelector=app.kubernetes.io%2Fmanaged-by%3Dimagejob")["items"]
    assert found == [], "role_binding of these tests has no label"
    assert operator.ask("DELETE", f"{bindings}/{RUNNER}.gone").status == HTTPStatus.OK


# --- what it has no right to ---


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/secrets"),
        ("GET", f"/api/v1/namespaces/{JOBS}/secrets/any"),
        ("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets"),
        ("POST", f"/api/v1/namespaces/{JOBS}/pods"),
        ("PATCH", f"/api/v1/namespaces/{JOBS}/pods/on-{NODES[0]}"),
        ("POST", f"/api/v1/namespaces/{JOBS}/pods/on-{NODES[0]}/exec"),
        ("GET", f"/api/v1/namespaces/{JOBS}/pods/on-{NODES[0]}/log"),
        ("POST", f"/api/v1/namespaces/{JOBS}/serviceaccounts/{RUNNER}/token"),
        ("DELETE", f"/api/v1/namespaces/{JOBS}/configmaps/any"),
        ("GET", "/api/v1/configmaps"),
        ("GET", "/api/v1/namespaces"),
        ("PATCH", f"/api/v1/nodes/{NODES[0]}"),
        ("POST", f"{RBAC}/clusterroles"),
        ("POST", f"{RBAC}/clusterrolebindings"),
        ("POST", f"{RBAC}/namespaces/{JOBS}/roles"),
        ("DELETE", f"{BOUND}/{RUNNER}"),
        ("POST", f"{IMAGEJOB}/namespaces/{JOBS}/imagejobs"),
        ("PATCH", f"{IMAGEJOB}/namespaces/{JOBS}/imagejobs/any"),
        ("PATCH", f"{IMAGEJOB}/nodelimits/disk"),
        ("DELETE", f"{IMAGEJOB}/nodelimits/gpu"),
        ("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"),
        ("PATCH", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/imagejobs.imagejob.dev"),
        ("GET", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"),
    ],
)
def test_what_rbac_does_not_allow(installed: Installed, method: str, path: str) -> None:
    answer = installed.operator.ask(method, path, None if method in ("GET", "DELETE") else {})
    assert answer.status == HTTPStatus.FORBIDDEN
    assert f'User "{OPERATOR}" cannot' in answer.message

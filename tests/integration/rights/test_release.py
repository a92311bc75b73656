"""A release's life: installed into an empty cluster, upgraded with jobs there, removed with and without its kinds."""

import json
from pathlib import Path
from typing import Final

import pytest

from nodelease.kubernetes.objects import new_lease
from nodelease.state import LeaseState
from tests.cluster.control_plane import ControlPlane, Options
from tests.e2e.waiting import eventually
from tests.integration.conftest import StartControlPlane
from tests.integration.rights.conftest import OPERATOR, install
from tests.tools.chart import CHART, NAMESPACE, RELEASE, helm, older_chart
from tests.unit.api.objects import image_job, node_limit

pytestmark = pytest.mark.integration

KINDS: Final = {"imagejobs.imagejob.dev", "imagepipelines.imagejob.dev", "nodelimits.imagejob.dev"}


@pytest.fixture
def plane(start_control_plane: StartControlPlane) -> ControlPlane:
    """An empty cluster of the test's own."""
    return start_control_plane(Options())


def kinds(plane: ControlPlane) -> set[str]:
    """Our CustomResourceDefinitions."""
    names = plane.kubectl("get", "customresourcedefinitions", "-o", "jsonpath={.items[*].metadata.name}").split()
    return {name for name in names if name.endswith(".imagejob.dev")}


def slots(plane: ControlPlane) -> str:
    """What the deployed operator is told about the default limit."""
    path = "{.spec.template.spec.containers[0].env[?(@.name=='IMAGEJOB_OPERATOR_DEFAULT_LIMIT')].value}"
    return plane.kubectl("get", "deployment", "imagejob-operator", f"--namespace={NAMESPACE}", "-o", f"jsonpath={path}")


def test_upgrade_from_a_chart_with_older_kinds_and_removal(plane: ControlPlane, tmp_path: Path) -> None:
    older = older_chart(tmp_path)
    helm("install", RELEASE, str(older), f"--namespace={NAMESPACE}", "--create-namespace", "--set=nodeLimit.slots=2", env=plane.env)
    plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    plane.kubectl("create", "-f", "-", stdin=json.dumps(node_limit()))
    plane.kubectl("create", "-f", "-", stdin=json.dumps(image_job()))
    uid = plane.kubectl("get", "imagejob", "flowers", "-o", "jsonpath={.metadata.uid}")
    assert plane.kubectl("get", "imagejob", "flowers").split()[:2] == ["NAME", "AGE"], "the older kind has no other column"

    helm("upgrade", RELEASE, str(CHART), f"--namespace={NAMESPACE}", "--reset-then-reuse-values", env=plane.env)
    eventually(lambda: "PHASE" in plane.kubectl("get", "imagejob", "flowers"), wanted=True)
    assert plane.kubectl("get", "imagejob", "flowers", "-o", "jsonpath={.metadata.uid}") == uid
    assert json.loads(slots(plane))["spec"]["slots"] == 2, "values are kept"
    assert plane.kubectl("get", "nodelimit", "gpu", "-o", "jsonpath={.spec.slots}") == "2"

    helm("upgrade", RELEASE, str(CHART), f"--namespace={NAMESPACE}", "--reuse-values", "--set=crds.enabled=false", env=plane.env)
    assert kinds(plane) == KINDS, "what is no longer the release's stays"
    helm("uninstall", RELEASE, f"--namespace={NAMESPACE}", env=plane.env)
    assert kinds(plane) == KINDS
    assert plane.kubectl("get", "imagejob", "flowers", "-o", "jsonpath={.metadata.uid}") == uid
    assert plane.kubectl("get", "nodelimit", "gpu", "-o", "name").strip() == "nodelimit.imagejob.dev/gpu"
    left = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"
    assert plane.kubectl("get", left, "-l", "app.kubernetes.io/part-of=imagejob", "-o", "name") == ""

    install(plane)
    assert plane.kubectl("get", "imagejob", "flowers", "-o", "jsonpath={.metadata.uid}") == uid, "a new release takes the kinds over"


def test_removal_of_everything(plane: ControlPlane) -> None:
    install(plane, "--set=crds.keep=false")
    plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    plane.kubectl("create", "-f", "-", stdin=json.dumps(image_job()))
    helm("uninstall", RELEASE, f"--namespace={NAMESPACE}", env=plane.env)
    eventually(lambda: kinds(plane), set())


def test_the_operators_namespace_can_be_deleted_with_its_leases(plane: ControlPlane) -> None:
    install(plane)
    lease = new_lease("gpu", "node-1", node_uid="gone", namespace=NAMESPACE, state=LeaseState(slots=1))
    del lease["metadata"]["ownerReferences"]
    plane.kubectl("create", f"--as={OPERATOR}", "-f", "-", stdin=json.dumps(lease))
    plane.kubectl("delete", "namespace", NAMESPACE, "--timeout=60s")

"""A pod's report of its own progress, by its own token, as the API server takes it."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from imagejob_api.pod import ANNOTATION_PROGRESS, PodImages, PodProgress
from imagejob_runner.pod.own_pod import OwnPod, ReportError
from imagejob_runner.pod.reporter import Reporter
from nodelease.kubernetes.access import PodAccess
from tests.cluster.control_plane import ControlPlane

ACCOUNT = "imagejob-runner"


@dataclass
class Place:
    """A namespace with a service account that may patch pods, and a pod without a node."""

    plane: ControlPlane
    namespace: str
    folder: Path
    """Where the pod finds its token."""

    def create(self, *things: dict[str, Any]) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(things)}
        self.plane.kubectl("create", f"--namespace={self.namespace}", "-f", "-", stdin=json.dumps(listed))

    def write_token(self, text: str | None = None) -> None:
        """The token of the account, as the kubelet puts it there; or some other text."""
        token = text or self.plane.kubectl("create", "token", ACCOUNT, f"--namespace={self.namespace}").strip()
        (self.folder / "token").write_text(token)

    def pod(self, name: str = "worker") -> OwnPod:
        address = urlsplit(self.plane.url)
        environment = {"KUBERNETES_SERVICE_HOST": address.hostname or "", "KUBERNETES_SERVICE_PORT": str(address.port)}
        return OwnPod(PodAccess(self.folder, environment), self.namespace, name)

    def annotations(self) -> dict[str, str]:
        got = self.plane.kubectl("get", "pod", "worker", f"--namespace={self.namespace}", "-o", "json")
        found: dict[str, str] = json.loads(got)["metadata"]["annotations"]
        return found


@pytest.fixture
def place(cluster: ControlPlane, namespace: str, tmp_path: Path) -> Place:
    place = Place(cluster, namespace, tmp_path)
    (tmp_path / "ca.crt").write_bytes((cluster.files.credentials / "ca.crt").read_bytes())
    rbac = "rbac.authorization.k8s.io"
    place.create(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "Role",
            "metadata": {"name": ACCOUNT},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}],
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": ACCOUNT},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": ACCOUNT},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "worker", "annotations": {"somebody": "else"}},
            "spec": {
                "serviceAccountName": ACCOUNT,
                "schedulingGates": [{"name": "imagejob.dev/stays-without-a-node"}],
                "containers": [{"name": "runner", "image": "runner"}],
            },
        },
    )
    place.write_token()
    return place


@pytest.fixture
async def pod(place: Place) -> AsyncIterator[OwnPod]:
    pod = place.pod()
    yield pod
    await pod.close()


async def test_a_report_stands_in_the_pod_s_annotation_and_changes_nothing_else(place: Place, pod: OwnPod) -> None:
    progress = PodProgress(images=PodImages(succeeded=812, failed=3), rate=12.5, waiting=1, reason="limit 'gpu' is not active, \"für\" 📷")
    reporter = Reporter(pod, 3600, lambda: progress)
    await reporter.close()
    found = place.annotations()
    assert PodProgress.model_validate_json(found[ANNOTATION_PROGRESS]) == progress
    assert found["somebody"] == "else"


async def test_a_token_that_was_replaced_is_read_again(place: Place, pod: OwnPod) -> None:
    await pod.annotate(ANNOTATION_PROGRESS, "one")
    place.write_token("this one is no longer good")
    stale = place.pod()
    try:
        with pytest.raises(ReportError, match="401"):
            await stale.annotate(ANNOTATION_PROGRESS, "two")
        place.write_token()
        await stale.annotate(ANNOTATION_PROGRESS, "three")
    finally:
        await stale.close()
    assert place.annotations()[ANNOTATION_PROGRESS] == "three"


async def test_a_refusal_says_what_and_why(place: Place, pod: OwnPod) -> None:
    place.plane.kubectl("delete", "rolebinding", ACCOUNT, f"--namespace={place.namespace}")
    with pytest.raises(ReportError, match=r"PATCH /api/v1/namespaces/.*/pods/worker: 403: .*forbidden"):
        await _annotate_until_refused(pod)


async def test_a_pod_that_is_gone(place: Place) -> None:
    gone = place.pod("another")
    try:
        with pytest.raises(ReportError, match="404"):
            await gone.annotate(ANNOTATION_PROGRESS, "x")
    finally:
        await gone.close()


async def test_a_server_that_is_not_there(place: Place) -> None:
    nowhere = OwnPod(PodAccess(place.folder, {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}), "a", "b")
    try:
        with pytest.raises(ReportError, match="cannot be reached"):
            await nowhere.annotate(ANNOTATION_PROGRESS, "x")
    finally:
        await nowhere.close()


async def test_a_pod_without_its_files(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="cannot be reached"):
        await OwnPod(PodAccess(tmp_path, {}), "a", "b").annotate(ANNOTATION_PROGRESS, "x")


async def _annotate_until_refused(pod: OwnPod) -> None:
    """The API server's view of the bindings follows a little later than they change."""
    async with asyncio.timeout(30):
        while True:
            await pod.annotate(ANNOTATION_PROGRESS, "x")

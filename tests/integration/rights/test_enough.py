"""The rights that the chart gives are enough: the operator works with its service account's token, and nothing is ever forbidden to it."""

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from tests.cluster.control_plane import ControlPlane, Options
from tests.cluster.processes import Child
from tests.e2e.waiting import eventually
from tests.integration.conftest import StartControlPlane
from tests.integration.rights.conftest import install
from tests.integration.rights.requester import Json
from tests.tools.chart import NAMESPACE
from tests.unit.api.objects import image_job, pipeline

pytestmark = pytest.mark.integration

TEAM = "team-a"


def start_operator(plane: ControlPlane) -> Child:
    """The operator as its Deployment would start it, but as a process here."""
    deployment: Json = json.loads(plane.kubectl("get", "deployment", "imagejob-operator", f"--namespace={NAMESPACE}", "-o", "json"))
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    token = plane.kubectl("create", "token", pod["serviceAccountName"], f"--namespace={NAMESPACE}", "--duration=1h").strip()
    kubeconfig = plane.files.folder / "operator.kubeconfig"
    authority = str(plane.files.credentials / "ca.crt")
    access = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": plane.url, "certificate-authority": authority}}],
        "users": [{"name": "operator", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "operator"}}],
        "current-context": "test",
    }
    kubeconfig.write_text(yaml.safe_dump(access))
    told = {variable["name"]: variable["value"] for variable in container["env"]}
    here = {"KUBECONFIG": str(kubeconfig), "IMAGEJOB_OPERATOR_HOST": "127.0.0.1", "IMAGEJOB_OPERATOR_PORT": "0"}
    command = [str(Path(sys.executable).with_name(name)) for name in container["command"]]
    return plane.run("imagejob-operator", command, env={**os.environ, **told, **here})


@pytest.mark.parametrize("flags", [(), (f"--set=watchNamespaces={{{TEAM}}}",)], ids=["everywhere", "namespaced"])
def test_the_operator_works_with_its_rights(start_control_plane: StartControlPlane, flags: tuple[str, ...]) -> None:
    plane = start_control_plane(Options(controllers=False))
    plane.kubectl("create", "namespace", TEAM)
    install(plane, *flags)
    plane.start_controllers()  # now, so that the garbage collector knows our kinds from the beginning
    plane.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}}))
    operator = start_operator(plane)

    def ask(path: str, *what: str) -> str:
        return plane.kubectl("get", *what, "-o", f"jsonpath={path}", "--ignore-not-found")

    # The limit that the chart brings along, its Lease, and a change of it.
    eventually(lambda: ask("{.spec.slotsPerDevice}", "nodelimit", "gpu"), "1")
    slots = ("{.metadata.annotations.imagejob\\.dev/slots}", "lease", "node-1", f"--namespace={NAMESPACE}")
    eventually(lambda: ask(*slots), "1")
    plane.kubectl("patch", "nodelimit", "gpu", "--type=merge", "--patch", '{"spec": {"slotsPerDevice": 4}}')
    eventually(lambda: ask(*slots), "4")
    eventually(lambda: ask("{.status.slots}", "nodelimit", "gpu"), "4")

    # A job with all that belongs to it, stopped, and deleted when its time has come.
    job = image_job(
        source={"urls": [{"url": "https://photos.example/1.jpg"}]}, pipelineRef=None, pipeline=pipeline(), ttlSecondsAfterFinished=0
    )
    plane.kubectl("create", f"--namespace={TEAM}", "-f", "-", stdin=json.dumps(job))
    made = ("job/flowers", "configmap/flowers", "serviceaccount/imagejob-runner", "rolebinding/imagejob-runner")
    for thing in made:
        eventually(lambda thing=thing: ask("{.metadata.name}", f"--namespace={TEAM}", thing), thing.partition("/")[2])
    eventually(lambda: ask("{.status.phase}", f"--namespace={TEAM}", "imagejob", "flowers") != "", wanted=True)
    assert ask("{.roleRef.name}", "rolebinding", f"imagejob-runner.{TEAM}", f"--namespace={NAMESPACE}") == "imagejob-lease-user"
    plane.kubectl("patch", f"--namespace={TEAM}", "imagejob", "flowers", "--type=merge", "--patch", '{"spec": {"cancel": true}}')
    eventually(lambda: ask("{.metadata.name}", f"--namespace={TEAM}", "imagejob", "flowers"), "")
    eventually(lambda: ask("{.metadata.name}", f"--namespace={TEAM}", "job", "flowers"), "")

    # A limit that goes takes its Leases along.
    plane.kubectl("delete", "nodelimit", "gpu")
    eventually(lambda: ask("{.metadata.name}", "lease", "node-1", f"--namespace={NAMESPACE}"), "")
    assert not operator.has_ended(within=0)
    assert "forbidden" not in operator.log.read_text().lower()

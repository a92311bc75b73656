"""What the plugin says when the cluster, the rights or the names are not what they should be."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.cluster.control_plane import ControlPlane, Options
from tests.integration.cli.jobs import Jobs, lease
from tests.integration.conftest import StartControlPlane
from tests.tools.plugin import PLUGIN, Plugin

pytestmark = pytest.mark.integration


def test_a_name_that_is_not_there(plugin: Plugin, jobs: Jobs, namespace: str) -> None:
    jobs.make("flowers")
    for command in (["status"], ["status", "-w"], ["logs"], ["verify"], ["cancel"]):
        done = plugin(*command, "flower").expect(2)
        assert done.err == f"Error: there is no ImageJob flower in namespace {namespace}; did you mean flowers?\n"
        assert done.out == ""


def test_nobody_answers(plugin: Plugin, cluster: ControlPlane, tmp_path: Path) -> None:
    dead = tmp_path / "config"
    dead.write_text(cluster.kubeconfig.read_text().replace(cluster.url, "https://127.0.0.1:1"))
    done = plugin("status", kubeconfig=dead).expect(3)
    assert done.err.startswith("Error: the cluster at https://127.0.0.1:1 of the context ")
    assert "cannot be reached" in done.err
    assert "kubectl config get-contexts" in done.err


def test_another_clusters_certificate(plugin: Plugin, cluster: ControlPlane, tmp_path: Path) -> None:
    strange = tmp_path / "config"
    kubeconfig = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json"))
    kubeconfig["clusters"][0]["cluster"] = {"server": cluster.url}
    strange.write_text(json.dumps(kubeconfig))
    assert "is not trusted" in plugin("status", kubeconfig=strange).expect(3).err


def test_credentials_that_are_not_accepted(plugin: Plugin, cluster: ControlPlane, tmp_path: Path) -> None:
    expired = tmp_path / "config"
    kubeconfig = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json"))
    kubeconfig["users"][0]["user"] = {"token": "expired"}
    expired.write_text(json.dumps(kubeconfig))
    assert "the cluster does not accept the credentials" in plugin("status", kubeconfig=expired).expect(3).err


def test_a_missing_right_is_named(plugin: Plugin, cluster: ControlPlane, namespace: str) -> None:
    done = plugin("status", kubeconfig=cluster.kubeconfig_for("nobody")).expect(3)
    assert done.err == f"Error: nobody may not list imagejobs.imagejob.dev in namespace {namespace}. Ask for the role imagejob-viewer.\n"


def test_a_cluster_without_imagejob(start_control_plane: StartControlPlane) -> None:
    plane = start_control_plane(Options(controllers=False))
    for command in (["status"], ["limits"], ["cancel", "demo"]):
        done = subprocess.run([PLUGIN, *command], env=plane.env, capture_output=True, text=True, check=False)
        assert done.returncode == 3
        assert "imagejob is not installed in it" in done.stderr
        assert "helm install imagejob" in done.stderr


def test_verify_says_why_an_output_cannot_be_read_from_here(plugin: Plugin, jobs: Jobs) -> None:
    jobs.make(
        "folder",
        output={"url": "file:///data/out"},
        template={"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "photos"}}]},
    )
    assert "on the volume claim photos, which this machine does not see" in plugin("verify", "folder").expect(3).err
    endpoint = {"name": "AWS_ENDPOINT_URL", "value": "http://s3.storage.svc:7070"}
    jobs.make("inside", output={"url": "s3://results/x"}, template={"env": [endpoint]})
    said = plugin("verify", "inside").expect(3).err
    assert "AWS_ENDPOINT_URL=http://s3.storage.svc:7070" in said
    assert "kubectl port-forward" in said


def test_logs_of_a_job_without_pods_say_why_there_are_none(plugin: Plugin, jobs: Jobs) -> None:
    jobs.make()
    said = plugin("logs", "demo").expect(0)
    assert said.out == ""
    assert said.err.startswith("demo has no pods now, and logs go with their pods. the operator has not looked at it yet")


def test_a_pod_that_has_not_started_says_why(plugin: Plugin, jobs: Jobs, cluster: ControlPlane, namespace: str) -> None:
    jobs.make()
    labels = {"imagejob.dev/job": "demo", "imagejob.dev/part": "work"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "demo-0-x7k2p", "labels": labels},
        "spec": {"containers": [{"name": "runner", "image": "x"}]},
    }
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(pod))
    cluster.kubectl("wait", "-n", namespace, "pod/demo-0-x7k2p", "--for=condition=PodScheduled=false", "--timeout=60s")
    assert plugin("logs", "demo").expect(0).err.startswith("demo-0-x7k2p has no log: Unschedulable: no nodes available")
    assert "None of the 1 pods of demo is asked for" in plugin("logs", "demo", "--failed").expect(0).err


def test_a_lease_namespace_in_the_environment(cluster: ControlPlane, namespace: str) -> None:
    own = lease("gpu", "worker-1", holders=("a/x",))
    own["metadata"]["namespace"] = namespace
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(own))
    env = cluster.env | {"IMAGEJOB_LEASE_NAMESPACE": namespace}
    done = subprocess.run([PLUGIN, "limits"], env=env, capture_output=True, text=True, check=True)
    assert "a/x (slot 0)" in done.stdout

"""The plugin as kubectl starts it."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.integration.cli.jobs import Jobs
from tests.tools.plugin import PLUGIN

pytestmark = pytest.mark.integration


@pytest.fixture
def kubectl(cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> ControlPlane:
    """The control plane, whose kubectl finds the plugin."""
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(PLUGIN).parent), os.environ["PATH"]]))
    return cluster


def test_kubectl_finds_it(kubectl: ControlPlane) -> None:
    assert PLUGIN in kubectl.kubectl("plugin", "list")
    assert kubectl.kubectl("imagejob", "status", "--help").startswith("Usage: kubectl imagejob status ")


def test_the_namespace_of_the_context_counts(kubectl: ControlPlane, jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs.make()
    context = kubectl.kubectl("config", "current-context").strip()
    copy = tmp_path / "config"
    copy.write_text(kubectl.kubeconfig.read_text())
    kubectl.kubectl("config", "set-context", context, f"--namespace={jobs.namespace}", f"--kubeconfig={copy}")
    assert kubectl.kubectl("imagejob", "status", "--kubeconfig", str(copy), "--context", context).startswith("demo: New")
    monkeypatch.chdir(tmp_path)
    env = kubectl.env | {"KUBECONFIG": f"{tmp_path}/none:config"}
    assert subprocess.run([PLUGIN, "status"], env=env, capture_output=True, text=True, check=True).stdout.startswith("demo: New")


def test_exit_codes_reach_the_shell(kubectl: ControlPlane, components: Path, jobs: Jobs) -> None:
    jobs.make()
    jobs.finish("demo", "PartiallySucceeded", failed=10)
    path = os.pathsep.join([str(components), os.environ["PATH"]])
    command = ["kubectl", "imagejob", "status", "demo", "-w", "-n", jobs.namespace]
    assert subprocess.run(command, env=kubectl.env | {"PATH": path}, capture_output=True, check=False).returncode == 5


def test_whoever_has_read_enough_may_stop_reading(cluster: ControlPlane, jobs: Jobs) -> None:
    jobs.make()
    script = f"set -o pipefail; {PLUGIN} status -n {jobs.namespace} --json -w | head -n 1"
    command = ["timeout", "60", "bash", "-c", script]
    with subprocess.Popen(command, env=cluster.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reading:
        assert reading.stdout is not None
        assert reading.stdout.readline().startswith('{"jobs": ')
        jobs.run()  # the next line meets a closed pipe
        _, said = reading.communicate()
    assert (reading.returncode, said) == (141, "")

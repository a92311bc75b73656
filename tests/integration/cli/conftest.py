"""The plugin as a process, on jobs and Leases that the tests make and whose status they write, in place of the operator."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.integration.cli.jobs import OPERATOR_NAMESPACE, Jobs
from tests.tools.following import Following
from tests.tools.plugin import PLUGIN, Done, Plugin
from tests.unit.api.objects import Json


@pytest.fixture
def jobs(cluster: ControlPlane, namespace: str) -> Jobs:
    """Makes ImageJobs in the test's namespace, and writes their status as an operator does."""
    return Jobs(cluster, namespace)


@pytest.fixture
def plugin(cluster: ControlPlane, namespace: str) -> Plugin:
    """Runs `kubectl imagejob` in the test's namespace."""

    def run(*arguments: str, stdin: str = "", kubeconfig: Path | None = None) -> Done:
        env = cluster.env | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})
        command = [PLUGIN, *arguments, *(() if "-A" in arguments or "-n" in arguments else ("-n", namespace))]
        done = subprocess.run(command, env=env, input=stdin, capture_output=True, text=True, check=False, timeout=60)
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def follow(cluster: ControlPlane, namespace: str) -> Iterator[Callable[..., Following]]:
    """Starts `kubectl imagejob` in the test's namespace, and reads what it prints as it comes."""
    started: list[Following] = []

    def start(*arguments: str) -> Following:
        started.append(Following([PLUGIN, *arguments, "-n", namespace], cluster.env))
        return started[-1]

    yield start
    for each in started:
        each.kill()


@pytest.fixture
def leases(cluster: ControlPlane) -> Iterator[Callable[[Json], str]]:
    """Makes Leases in the operator's namespace; they are gone after the test."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATOR_NAMESPACE}}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    yield lambda lease: cluster.kubectl("apply", "-f", "-", stdin=json.dumps(lease))
    cluster.kubectl("delete", "lease", "-n", OPERATOR_NAMESPACE, "--all")

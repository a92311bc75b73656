"""`kubectl imagejob suspend`, `resume` and `cancel` on a real API server."""

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.integration.cli.jobs import Jobs
from tests.tools.plugin import Plugin

pytestmark = pytest.mark.integration


def test_suspend_and_resume(plugin: Plugin, jobs: Jobs) -> None:
    jobs.make()
    assert (
        plugin("suspend", "demo")
        .expect(0)
        .out.startswith("demo: suspending: its pods commit what is whole and end; kubectl imagejob resume")
    )
    assert jobs.get()["spec"]["suspend"] is True
    version = jobs.get()["metadata"]["resourceVersion"]
    assert plugin("suspend", "demo").expect(0).out == "demo: suspended already\n"
    assert jobs.get()["metadata"]["resourceVersion"] == version
    assert plugin("resume", "demo").expect(0).out == "demo: resuming: it goes on where it stopped\n"
    assert jobs.get()["spec"]["suspend"] is False
    assert plugin("resume", "demo").expect(0).out == "demo: not suspended\n"


def test_cancel(plugin: Plugin, jobs: Jobs) -> None:
    jobs.make()
    assert plugin("cancel", "demo").expect(0).out == "demo: cancelling: its pods commit what is whole and end\n"
    assert jobs.get()["spec"]["cancel"] is True
    assert plugin("cancel", "demo").expect(0).out == "demo: cancelled already\n"
    assert "cancelled, which cannot be taken back" in plugin("resume", "demo").expect(4).out


@pytest.mark.parametrize("command", ["suspend", "resume", "cancel"])
def test_a_finished_job_stays_as_it_is(plugin: Plugin, jobs: Jobs, command: str) -> None:
    jobs.make()
    jobs.finish()
    before = jobs.get()
    assert plugin(command, "demo").expect(0).out == "demo: finished already (Succeeded)\n"
    assert jobs.get() == before


def test_one_that_is_not_there_does_not_keep_the_others(plugin: Plugin, jobs: Jobs) -> None:
    jobs.make()
    done = plugin("cancel", "dmeo", "demo").expect(2)
    assert "did you mean demo?" in done.err
    assert done.out.startswith("demo: cancelling")


def test_a_missing_right_is_named(cluster: ControlPlane, plugin: Plugin, jobs: Jobs, namespace: str) -> None:
    jobs.make()
    cluster.kubectl("create", "role", "-n", namespace, "viewer", "--verb=get", "--resource=imagejobs.imagejob.dev")
    cluster.kubectl("create", "rolebinding", "-n", namespace, "viewer", "--role=viewer", "--user=ada")
    done = plugin("suspend", "demo", kubeconfig=cluster.kubeconfig_for("ada")).expect(3)
    assert done.err == f"Error: ada may not patch imagejobs.imagejob.dev in namespace {namespace}. Ask for the role imagejob-editor.\n"

"""`kubectl imagejob status` on a real API server."""

import json
import re
import signal
from collections.abc import Callable

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.integration.cli.jobs import Jobs, condition, lease
from tests.tools.following import Following
from tests.tools.plugin import Plugin

pytestmark = pytest.mark.integration

Follow = Callable[..., Following]


def test_a_job_at_work_and_the_slots(plugin: Plugin, jobs: Jobs, leases: Callable[..., str], namespace: str) -> None:
    jobs.make()
    jobs.run()
    pods = [f"{namespace}/demo-{index}-x7k2p" for index in range(3)]
    leases(lease("gpu", "worker-1", holders=(pods[0], "other/x"), queue=("other/y", pods[1])))
    said = plugin("status", "demo").expect(0).out.splitlines()
    assert re.fullmatch(r"demo: 812/1,000, Running, 81%, 97 images/s, [\d:]+ elapsed, 4 pods, 3 waiting for a slot; failed 7", said[0]), (
        said
    )
    assert said[1] == "gpu on worker-1: 2/2 held, 2 waiting (demo holds 1, is next at place 2)"


def test_all_jobs_of_a_namespace_those_at_work_first(plugin: Plugin, jobs: Jobs) -> None:
    assert plugin("status").expect(0).out.splitlines()[0] == "No ImageJobs."
    for name in ("a", "b"):
        jobs.make(name)
    jobs.finish("a")
    jobs.run("b")
    said = plugin("status").expect(0).out.splitlines()
    assert [line.partition(":")[0] for line in said[:2]] == ["b", "a"]
    assert said[1] == "a: 1,000/1,000, Succeeded, 100%, 2:10 in all"


def test_all_namespaces(plugin: Plugin, jobs: Jobs, namespace: str) -> None:
    jobs.make()
    assert f"{namespace}/demo: " in plugin("status", "-A").expect(0).out


def test_why_a_job_has_not_started(plugin: Plugin, jobs: Jobs) -> None:
    jobs.make()
    assert "the operator has not looked at it yet" in plugin("status", "demo").out
    words = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    jobs.write_status(phase="Pending", conditions=[condition("Stalled", holds=True, reason="Unschedulable", message=words)])
    assert f"Unschedulable: {words}" in plugin("status", "demo").out


def test_json(plugin: Plugin, jobs: Jobs, leases: Callable[..., str]) -> None:
    jobs.make()
    jobs.run()
    leases(lease("gpu", "worker-1", holders=("other/x",)))
    found = json.loads(plugin("status", "demo", "--json").expect(0).out)
    (job,) = found["jobs"]
    assert job["images"] == {"total": 1000, "succeeded": 805, "failed": 7, "skipped": 0}
    assert (job["phase"], job["finished"], job["exitCode"], job["imagesPerSecond"]) == ("Running", False, None, 97.3)
    (slots,) = found["slots"]
    assert (slots["limit"], slots["node"], slots["slots"], slots["held"]) == ("gpu", "worker-1", 2, 1)


@pytest.mark.parametrize(
    ("reason", "more", "code", "words"),
    [
        ("Succeeded", (), 0, "demo: Succeeded"),
        ("PartiallySucceeded", (), 5, "990 succeeded, 10 failed of 1,000"),
        ("Cancelled", (), 4, "demo: Cancelled"),
        (
            "Failed",
            (condition("Failed", holds=True, reason="ModelRefused", message="sha256 differs"),),
            1,
            "ModelRefused (a fault of the model or the pipeline): sha256 differs",
        ),
        ("Failed", (condition("Failed", holds=True, reason="DeadlineExceeded"),), 124, "DeadlineExceeded"),
    ],
)
def test_watching_ends_with_the_jobs_code(
    follow: Follow, jobs: Jobs, reason: str, more: tuple[dict[str, str], ...], code: int, words: str
) -> None:
    jobs.make()
    watching = follow("status", "demo", "-w")
    watching.line_with("the operator has not looked at it yet")
    jobs.run()
    watching.line_with("812/1,000")
    jobs.finish("demo", reason, *more, failed=10 if reason == "PartiallySucceeded" else 0)
    assert words in watching.end().expect(code).out


def test_slots_are_watched_too(follow: Follow, jobs: Jobs, leases: Callable[..., str]) -> None:
    jobs.make()
    jobs.run()
    leases(lease("gpu", "worker-1"))
    watching = follow("status", "demo", "-w", "--json")
    assert json.loads(watching.line_with("worker-1"))["slots"][0]["held"] == 0
    leases(lease("gpu", "worker-1", holders=("other/x",)))
    assert json.loads(watching.line_with('"held": 1'))["slots"][0]["holders"][0]["pod"] == "other/x"


def test_several_jobs_end_with_the_worst_code(follow: Follow, jobs: Jobs) -> None:
    for name in ("a", "b"):
        jobs.make(name)
        jobs.run(name)
    watching = follow("status", "a", "b", "-w")
    watching.line_with("b: 812/1,000")
    jobs.finish("a", "Cancelled", phase="Cancelled")
    watching.line_with("a: 1,000/1,000, Cancelled")
    jobs.finish("b")
    watching.end().expect(4)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_detaches(follow: Follow, jobs: Jobs, namespace: str, number: signal.Signals) -> None:
    jobs.make()
    jobs.run()
    watching = follow("status", "demo", "-w")
    watching.line_with("812/1,000")
    watching.interrupt(number)
    assert watching.end().expect(130).err.splitlines() == [
        "Detached: the job goes on.",
        f"  come back:  kubectl imagejob status demo -w -n {namespace}",
        f"  end it:     kubectl imagejob cancel demo -n {namespace}",
    ]
    assert not jobs.get()["spec"].get("cancel")


def test_a_timeout(plugin: Plugin, jobs: Jobs) -> None:
    jobs.make()
    done = plugin("status", "demo", "-w", "--timeout", "200ms").expect(124)
    assert "Not finished after 0.2 s." in done.err
    assert "come back:" in done.err


def test_a_deleted_job_ends_the_watch(follow: Follow, jobs: Jobs) -> None:
    jobs.make()
    jobs.run()
    watching = follow("status", "demo", "-w")
    watching.line_with("812/1,000")
    jobs.delete()
    assert "demo: deleted before it was finished" in watching.end().expect(4).out


def test_a_job_that_goes_right_after_its_end_has_its_code(follow: Follow, jobs: Jobs) -> None:
    """As with ttlSecondsAfterFinished: 0."""
    jobs.make()
    jobs.run()
    watching = follow("status", "demo", "-w")
    watching.line_with("812/1,000")
    jobs.finish("demo", "PartiallySucceeded", failed=10)
    jobs.delete()
    watching.end().expect(5)


def test_a_right_to_the_jobs_alone_is_enough(cluster: ControlPlane, plugin: Plugin, jobs: Jobs, namespace: str) -> None:
    jobs.make()
    jobs.run()
    cluster.kubectl("create", "role", "-n", namespace, "viewer", "--verb=get,list,watch", "--resource=imagejobs.imagejob.dev")
    cluster.kubectl("create", "rolebinding", "-n", namespace, "viewer", "--role=viewer", "--user=ada")
    note = "slots are not shown: ada may not list leases.coordination.k8s.io in namespace imagejob-system."
    ada = cluster.kubeconfig_for("ada")
    said = plugin("status", "demo", kubeconfig=ada).expect(0).out
    assert "demo: 812/1,000" in said
    assert note in said
    machine = plugin("status", "demo", "--json", kubeconfig=ada).expect(0)
    assert json.loads(machine.out)["slots"] == []
    assert machine.err.startswith(f"note: {note}")

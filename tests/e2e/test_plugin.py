"""`kubectl imagejob` beside a real operator and real pods: what integration tests cannot show, logs first of all."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.servers import environment
from tests.e2e.team import Team, call, gpu
from tests.e2e.waiting import eventually
from tests.tools.following import Following
from tests.tools.plugin import PLUGIN, Done, Plugin

Follow = Callable[..., Following]

_REAPED_SECONDS: Final = 2.0
"""From the end of a job that crashed until nobody has its slots."""


@pytest.fixture
def plugin(team: Team) -> Plugin:
    """Runs `kubectl imagejob` in the team's namespace."""
    own = {**os.environ, "KUBECONFIG": str(team.cluster.kubeconfig)}

    def run(*arguments: str, env: dict[str, str] | None = None) -> Done:
        command = [PLUGIN, *arguments, "-n", team.namespace]
        done = subprocess.run(command, env={**own, **(env or {})}, capture_output=True, text=True, check=False, timeout=120)
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def follow(team: Team) -> Iterator[Follow]:
    """Starts `kubectl imagejob` in the team's namespace, and reads what it prints as it comes."""
    started: list[Following] = []

    def start(*arguments: str) -> Following:
        command = [PLUGIN, *arguments, "-n", team.namespace]
        started.append(Following(command, {**os.environ, "KUBECONFIG": str(team.cluster.kubeconfig)}, seconds=300))
        return started[-1]

    yield start
    for each in started:
        each.kill()


def written(job: dict[str, Any], folder: Path) -> str:
    """A file with the job."""
    file = folder / "job.json"
    file.write_text(json.dumps(job))
    return str(file)


def pods_of(lines: str, job: str) -> set[str]:
    """Indexes of the pods that said something."""
    return set(re.findall(rf"^\[{job}-(\d+)-[a-z0-9]+\] ", lines, re.MULTILINE))


def test_a_job_from_submit_to_verify(team: Team, plugin: Plugin, follow: Follow, tmp_path: Path) -> None:
    job = team.image_job("whole", [call("work", seconds=0.2, limits=[gpu()])], images=48, chunkSize=4, shards=4, parallelism=2)
    submitted = follow("submit", "-f", written(job, tmp_path), "--wait")
    submitted.line_with(f"ImageJob {team.namespace}/whole created")
    logs = follow("logs", "whole", "-f")
    eventually(lambda: f"{team.namespace}/whole-" in plugin("limits", "gpu").expect(0).out, wanted=True, seconds=120)
    assert "48 succeeded, 0 failed of 48" in submitted.end().expect(0).out

    followed = logs.end().expect(0).out
    assert "Done with the shards" in followed
    printed = plugin("logs", "whole").expect(0).out
    assert sorted(followed.splitlines()) == sorted(printed.splitlines())
    indexes = pods_of(printed, "whole")
    assert indexes == {str(index) for index in range(len(indexes))}
    assert pods_of(plugin("logs", "whole", "--index", "0").expect(0).out, "whole") == {"0"}
    assert len(plugin("logs", "whole", "--index", "0", "--tail", "1").expect(0).out.splitlines()) == 1
    assert plugin("logs", "whole", "--failed").expect(0).out == ""

    assert "kubectl port-forward" in plugin("verify", "whole").expect(3).err
    with team.servers._reached() as endpoint:
        assert ": proved\n" in plugin("verify", "whole", env=environment(endpoint)).expect(0).out


def test_logs_follow_the_pod_that_takes_anothers_place(team: Team, plugin: Plugin, follow: Follow) -> None:
    team.apply(team.image_job("moved", [call("work", seconds=0.5)], images=60, chunkSize=2, shards=1))
    logs = follow("logs", "moved", "-f")
    first = re.match(r"\[(\S+)\]", logs.line_with("[moved-0-"))
    assert first is not None
    team.kubectl("delete", "pod", first[1])
    eventually(lambda: {pod["metadata"]["name"] for pod in team.running("moved")} - {first[1]} != set(), wanted=True, seconds=120)
    (second,) = (pod["metadata"]["name"] for pod in team.running("moved"))
    logs.line_with(f"[{second}]")
    plugin("cancel", "moved").expect(0)
    said = logs.end().expect(0).out
    assert "Asked to stop" in "".join(line for line in said.splitlines() if line.startswith(f"[{first[1]}]"))


def test_a_job_that_crashes_leads_to_the_logs_of_its_failed_pods(team: Team, plugin: Plugin, workers: list[str]) -> None:
    policy = {"backoffLimitPerShard": 0}
    team.apply(team.image_job("broken", [call("crash", limits=[gpu()])], images=2, failurePolicy=policy))
    done = plugin("status", "broken", "-w", "--timeout", "3m").expect(1)
    eventually(lambda: team.held(workers), set(), seconds=_REAPED_SECONDS)
    assert "Crashed (a fault of the job's code or of the cluster)" in done.out
    assert f"kubectl imagejob logs broken --failed -n {team.namespace}" in done.out
    assert pods_of(plugin("logs", "broken", "--failed").expect(0).out, "broken") == {"0"}


def test_suspend_resume_and_cancel(team: Team, plugin: Plugin, follow: Follow) -> None:
    team.apply(team.image_job("long", [call("work", seconds=0.5)], images=500, chunkSize=2))
    watching = follow("status", "long", "-w")
    watching.line_with("Running")
    plugin("suspend", "long").expect(0)
    watching.line_with("Suspended")
    plugin("resume", "long").expect(0)
    watching.line_with("Running")
    plugin("cancel", "long").expect(0)
    assert "long: Cancelled" in watching.end().expect(4).out
    assert plugin("cancel", "long").expect(0).out == "long: finished already (Cancelled)\n"


def test_why_a_job_has_not_started(team: Team, follow: Follow) -> None:
    team.apply(team.image_job("stuck", [call("work", seconds=0)], images=1, template={"nodeSelector": {"nobody": "has-this"}}))
    follow("status", "stuck", "-w").line_with("Unschedulable: ")

"""`kubectl imagejob submit` on a real API server."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from imagejob_api.output_in_pods import FIX
from tests.cluster.control_plane import ControlPlane
from tests.integration.cli.jobs import Jobs, simple_job
from tests.tools.following import Following
from tests.tools.plugin import PLUGIN, Plugin
from tests.unit.api.objects import Json, image_job, image_pipeline, node_limit

pytestmark = pytest.mark.integration

Follow = Callable[..., Following]


def documents(*objects: Json) -> str:
    return yaml.safe_dump_all(objects)


@pytest.fixture
def no_limits(cluster: ControlPlane) -> Iterator[None]:
    cluster.kubectl("delete", "nodelimits", "--all")
    yield
    cluster.kubectl("delete", "nodelimits", "--all")


def limited(*limits: str) -> Json:
    pipeline = image_pipeline()
    pipeline["spec"]["steps"][1]["limits"] = [{"name": name} for name in limits]
    return pipeline


@pytest.mark.usefixtures("no_limits")
def test_several_documents(plugin: Plugin, jobs: Jobs, namespace: str) -> None:
    files = documents(simple_job("alone"), image_job(), limited("gpu"), node_limit())
    made = plugin("submit", "-f", "-", stdin=files).expect(0)
    assert made.out.splitlines() == [
        "NodeLimit gpu created",
        f"ImagePipeline {namespace}/classify created",
        f"ImageJob {namespace}/alone created",
        f"ImageJob {namespace}/flowers created",
    ]
    assert made.err == ""
    assert jobs.get("flowers")["spec"]["pipelineRef"] == {"name": "classify"}
    again = plugin("submit", "-f", "-", stdin=files).expect(0).out
    assert [line.rpartition(" ")[2] for line in again.splitlines()] == ["unchanged"] * 4


def test_what_is_there_gets_the_new_values(plugin: Plugin, jobs: Jobs, namespace: str) -> None:
    plugin("submit", "-f", "-", stdin=documents(simple_job())).expect(0)
    changed = plugin("submit", "-f", "-", stdin=documents(simple_job(parallelism=3))).expect(0)
    assert changed.out == f"ImageJob {namespace}/demo configured\n"
    assert jobs.get()["spec"]["parallelism"] == 3


def test_mistakes_read_as_from_validate(plugin: Plugin, cluster: ControlPlane, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    twice = image_job("twice", source={"urls": [{"url": "s3://photos/1.jpg"}, {"url": "s3://photos/1.jpg"}]})
    file.write_text(documents(simple_job(paralelism=2), node_limit(slots=-1), twice))
    submitted = plugin("submit", "-f", str(file)).expect(2)
    validated = subprocess.run([PLUGIN, "validate", "-f", str(file)], env=cluster.env, capture_output=True, text=True, check=False)
    assert "spec.paralelism" in submitted.err
    assert "spec.source.urls[1]: has the same id as urls[0]" in submitted.err
    assert submitted.err == validated.stderr


def test_if_one_is_refused_none_is_made(plugin: Plugin, cluster: ControlPlane, jobs: Jobs, namespace: str) -> None:
    jobs.make("started")
    jobs.run("started")
    other = simple_job("started", output={"url": "s3://elsewhere/x"})
    done = plugin("submit", "-f", "-", stdin=documents(simple_job("fresh"), other)).expect(2)
    assert "spec.output cannot be changed once the job has started; create another ImageJob" in done.err
    assert done.out == ""
    assert cluster.kubectl("get", "imagejobs", "-n", namespace, "-o", "name") == "imagejob.imagejob.dev/started\n"


def test_a_dry_run_makes_nothing(plugin: Plugin, cluster: ControlPlane, jobs: Jobs, namespace: str) -> None:
    jobs.make("started")
    jobs.run("started")
    files = documents(simple_job("fresh"), simple_job("started", parallelism=3))
    asked = plugin("submit", "-f", "-", "--dry-run=server", stdin=files).expect(0)
    assert asked.out.splitlines() == [
        f"ImageJob {namespace}/fresh created (server dry run)",
        f"ImageJob {namespace}/started configured (server dry run)",
    ]
    refused = plugin("submit", "-f", "-", "--dry-run=server", stdin=documents(simple_job("started", output={"url": "s3://elsewhere"})))
    assert "spec.output cannot be changed once the job has started" in refused.expect(2).err
    for flag in ("--dry-run=client", "--dry-run"):  # without a word it is the client's, as kubectl's is
        checked = plugin("submit", flag, "-f", "-", stdin=documents(image_job(pipelineRef={"name": "elsewhere"}))).expect(0)
        assert checked.out == f"ImageJob {namespace}/flowers is valid (dry run)\n"
    assert "spec.output.url" in plugin("submit", "--dry-run", "-f", "-", stdin=documents(image_job(output={}))).expect(2).err
    assert (
        "--dry-run makes no job that --wait could wait for" in plugin("submit", "--dry-run", "--wait", "-f", "-", stdin=files).expect(2).err
    )
    assert cluster.kubectl("get", "imagejobs", "-n", namespace, "-o", "name") == "imagejob.imagejob.dev/started\n"
    assert jobs.get("started")["spec"].get("parallelism", 1) == 1


def test_a_pipeline_that_is_in_the_cluster_is_enough(plugin: Plugin) -> None:
    plugin("submit", "-f", "-", stdin=documents(limited())).expect(0)
    plugin("submit", "-f", "-", stdin=documents(image_job())).expect(0)
    missing = plugin("submit", "-f", "-", stdin=documents(image_job(pipelineRef={"name": "clasify"}))).expect(2)
    assert "there is no ImagePipeline clasify in namespace" in missing.err
    assert "fix: did you mean classify?" in missing.err


def test_rows_that_more_than_one_pod_must_see_do_not_go_into_a_pod(plugin: Plugin, cluster: ControlPlane, namespace: str) -> None:
    done = plugin("submit", "-f", "-", stdin=documents(limited(), image_job(output={"url": "/out"}))).expect(2)
    assert "spec.output.url: the output /out is a folder inside each pod, and the pod that lists the source is another" in done.err
    assert f"fix: {FIX}" in done.err
    assert cluster.kubectl("get", "imagejobs", "-n", namespace, "-o", "name") == ""


@pytest.mark.usefixtures("no_limits")
def test_notes_on_what_a_job_will_wait_for_and_what_is_lost(plugin: Plugin, namespace: str) -> None:
    inside = image_job(source={"urls": [{"url": "s3://photos/a.jpg"}]}, output={"url": "results/x"})
    files = documents(limited("licence"), inside, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})
    notes = plugin("submit", "-f", "-", stdin=files).expect(0).err.splitlines()
    job = f"note: ImageJob {namespace}/flowers: "
    lost = f"the output results/x is a folder inside each pod, and is lost with it; {FIX}."
    assert notes == [
        "note: standard input:31: ConfigMap c is for kubectl; imagejob leaves it alone",
        f"{job}step infer takes the limit licence, and there is no such NodeLimit; the job waits until there is one.",
        f"{job}{lost}",
    ]


def test_a_finished_job_is_not_run_again(plugin: Plugin, jobs: Jobs, namespace: str) -> None:
    plugin("submit", "-f", "-", stdin=documents(simple_job())).expect(0)
    jobs.finish()
    done = plugin("submit", "-f", "-", "--wait", stdin=documents(simple_job())).expect(0)
    assert f"note: ImageJob {namespace}/demo is finished already (Succeeded); give it another name to run it again." in done.err


def test_waiting_ends_with_the_jobs_code(follow: Follow, jobs: Jobs, tmp_path: Path, namespace: str) -> None:
    file = tmp_path / "job.json"
    file.write_text(json.dumps(simple_job()))
    waiting = follow("submit", "-f", str(file), "--wait")
    waiting.line_with(f"ImageJob {namespace}/demo created")
    waiting.line_with("the operator has not looked at it yet")
    jobs.finish("demo", "PartiallySucceeded", failed=3)
    assert "997 succeeded, 3 failed of 1,000" in waiting.end().expect(5).out


def test_interrupting_the_wait_says_how_to_come_back(follow: Follow, tmp_path: Path, namespace: str) -> None:
    file = tmp_path / "job.json"
    file.write_text(json.dumps(simple_job()))
    waiting = follow("submit", "-f", str(file), "--wait")
    waiting.line_with("the operator has not looked at it yet")
    waiting.interrupt(signal.SIGINT)
    assert f"come back:  kubectl imagejob status demo -w -n {namespace}" in waiting.end().expect(130).err


def test_the_namespace_of_a_file(plugin: Plugin, namespace: str) -> None:
    job = simple_job()
    job["metadata"]["namespace"] = "elsewhere"
    conflict = plugin("submit", "-f", "-", stdin=documents(job)).expect(2)
    assert f"ImageJob demo is for namespace elsewhere, and -n says {namespace}" in conflict.err
    missing = plugin("submit", "-f", "-", "-n", "elsewhere", stdin=documents(job)).expect(2)
    assert missing.err == "Error: there is no namespace elsewhere\n"


@pytest.mark.usefixtures("no_limits")
def test_a_limit_of_the_platform_is_left_as_it_is(plugin: Plugin, cluster: ControlPlane, namespace: str) -> None:
    files = documents(node_limit(slots=1), simple_job())
    editor = ("--verb=get,list,watch,create,patch", "--resource=imagejobs.imagejob.dev,imagepipelines.imagejob.dev")
    cluster.kubectl("create", "role", "-n", namespace, "editor", *editor)
    cluster.kubectl("create", "rolebinding", "-n", namespace, "editor", "--role=editor", "--user=eve")
    eve = cluster.kubeconfig_for("eve")
    refusal = "eve may not patch nodelimits.imagejob.dev (they are in no namespace). Ask whoever runs the cluster for it."
    blind = plugin("submit", "-f", "-", stdin=files, kubeconfig=eve).expect(0)
    assert blind.out.splitlines() == ["NodeLimit gpu left out", f"ImageJob {namespace}/demo created"]
    assert blind.err == (
        "note: NodeLimit gpu is left out: NodeLimits are for the whole cluster, and you may neither read nor change them. "
        "If there is none of that name the job waits for it; whoever runs the cluster may make it.\n"
    )
    assert refusal in plugin("submit", "-f", "-", stdin=documents(node_limit()), kubeconfig=eve).expect(3).err
    cluster.kubectl("delete", "imagejob", "-n", namespace, "demo")
    cluster.kubectl("create", "clusterrole", f"{namespace}-limits", "--verb=get,list", "--resource=nodelimits.imagejob.dev")
    cluster.kubectl("create", "clusterrolebinding", f"{namespace}-limits", f"--clusterrole={namespace}-limits", "--user=eve")
    refused = plugin("submit", "-f", "-", stdin=files, kubeconfig=eve).expect(3)
    assert refusal in refused.err
    assert refused.out == ""
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(node_limit(slots=2)))
    made = plugin("submit", "-f", "-", stdin=files, kubeconfig=eve).expect(0)
    assert made.out.splitlines() == [
        "NodeLimit gpu left as it is: it is there, and you may not change it",
        f"ImageJob {namespace}/demo created",
    ]
    assert cluster.kubectl("get", "nodelimit", "gpu", "-o", "jsonpath={.spec.slots}") == "2"
    waiting = ("--wait", "--timeout", "200ms", "--operator-namespace", "platform")
    waited = plugin("submit", "-f", "-", *waiting, stdin=files, kubeconfig=eve).expect(124)
    assert "slots: slots are not shown: eve may not list leases.coordination.k8s.io in namespace platform." in waited.out

"""Pods that share a job: which shards are whose, what is done when one goes, and who writes the summary."""

import json
import signal
import sys
from pathlib import Path

import pytest

from imagejob_api.pod import FailedImages, RunnerExit, SummaryReport
from tests.process.harness import IMAGEJOB, Lab, Step, call, comparable, elapsed, eventually, inputs, inputs_from
from tests.process.pods import EndedPod, Pods, executed
from tests.process.web import ALLOWED, serving, stalls
from tests.tools.s3 import S3Server

IMAGES, CHUNK = 100, 8


@pytest.fixture
def pods(lab: Lab) -> Pods:
    return Pods(lab)


def steps(log: Path, seconds: float = 0.0, limit: str | None = None) -> list[Step]:
    return [call("work", "note", limit=limit, hold="50ms", arguments={"log": str(log), "seconds": seconds})]


def summaries(ended: list[EndedPod]) -> list[SummaryReport]:
    return [pod.result.summary for pod in ended if pod.result.summary is not None]


@pytest.mark.parametrize("source", ["urls", "manifest"])
def test_pods_share_the_shards_and_give_the_rows_of_a_local_run(lab: Lab, pods: Pods, source: str) -> None:
    log = lab.folder / "log"
    entries = [(f"image-{number:04}", f"file:///nowhere/{number}.jpg") for number in range(IMAGES)]
    given = inputs(IMAGES) if source == "urls" else inputs_from(lab.folder / "list.jsonl", entries)
    job = pods.job(steps(log), given, chunkSize=CHUNK, parallelism=2)
    pods.limit("gpu", 2)
    if source == "manifest":
        planned = pods.run("plan", job).expect(RunnerExit.DONE).result.plan
        assert planned is not None
        assert (planned.total, planned.shards, planned.chunk_size) == (IMAGES, 13, CHUNK)

    ended = [pod.expect(RunnerExit.DONE) for pod in pods.run_all(job, of=3)]
    assert [pod.result.images.done for pod in ended] == [36, 32, 32], "shards 0, 3 ... 12 and 1, 4 ... 10 and 2, 5 ... 11 of 13"
    assert sorted(executed(log)) == sorted(row["id"] for row in lab.output().rows())
    assert summaries(ended), "the last pod finds every row there"
    assert {summary.total for summary in summaries(ended)} == {summary.succeeded for summary in summaries(ended)} == {IMAGES}
    assert all(summary.within_policy for summary in summaries(ended))
    lab.output().prove()
    assert lab.output().succeeded

    lab.run(lab.job(steps(log), given, name="local", chunkSize=CHUNK)).expect(0)
    assert comparable(lab.output().rows()) == comparable(lab.output("local").rows())


def test_a_pod_without_shards_ends_at_once(lab: Lab, pods: Pods) -> None:
    log = lab.folder / "log"
    job = pods.job(steps(log), inputs(10), chunkSize=CHUNK)
    ended = pods.run("work", job, index=5, of=6).expect(RunnerExit.DONE)
    assert ended.result.images.done == 0
    assert ended.result.summary is None
    assert not executed(log)


def test_a_pod_that_is_killed_leaves_what_is_whole_to_the_next(lab: Lab, pods: Pods) -> None:
    log = lab.folder / "log"
    pods.limit("gpu", 1)
    job = pods.job(steps(log, 0.01, "gpu"), inputs(IMAGES), chunkSize=CHUNK)
    first = pods.start("work", job)
    eventually("three chunks", lambda: len(lab.output().parts()) >= 3 or not first.run.running)
    first.run.send(signal.SIGKILL)
    first.run.process.wait()
    done = len(lab.output().rows())
    ended = pods.run("work", job).expect(RunnerExit.DONE)
    assert ended.result.images.succeeded == IMAGES, "what the other pod did counts: it is in the output"
    assert 0 <= len(executed(log)) - IMAGES <= 2 * CHUNK
    assert 0 < done < IMAGES
    assert summaries([ended])
    lab.verify()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_pod_that_is_asked_to_stop_commits_what_is_whole_and_frees_its_slot(lab: Lab, pods: Pods, number: signal.Signals) -> None:
    log = lab.folder / "log"
    pods.limit("gpu", 1)
    job = pods.job(steps(log, 0.02, "gpu"), inputs(IMAGES), chunkSize=CHUNK)
    pod = pods.start("work", job)
    eventually("images", lambda: len(executed(log)) > 2 * CHUNK or not pod.run.running)
    with elapsed() as seconds:
        pod.run.send(number)
        pod.run.send(number)
        ended = pod.wait().expect(RunnerExit.STOPPED)
    assert seconds[0] < 5
    rows = lab.output().rows()
    assert 0 < len(rows) < IMAGES
    assert len(rows) % CHUNK == 0
    assert ended.result.images.done == len(rows)
    assert f"{len(rows)} of {IMAGES} images" in ended.error
    assert (lab.limits()["gpu"]["held"], lab.limits()["gpu"]["waiting"]) == (0, 0)
    assert ended.result.summary is None

    pods.run("work", job).expect(RunnerExit.DONE)
    assert len(executed(log)) - IMAGES <= 2 * CHUNK
    lab.verify()


def test_a_pod_that_ends_under_a_running_call_keeps_its_slot_to_the_end(lab: Lab, pods: Pods) -> None:
    log, pace, held = lab.folder / "log", lab.folder / "pace", lab.folder / "held"
    pace.write_text("1000")
    pods.limit("gpu", 1)
    job = pods.job([call("work", "note_at_pace", limit="gpu", arguments={"log": str(log), "pace": str(pace)})], inputs(4))
    impatient = (
        "import atexit, subprocess, imagejob_runner.pod.work as work; from imagejob_runner.pod.main import main; work.STOP_SECONDS = 0.5; "
        f"atexit.register(subprocess.run, [{str(IMAGEJOB)!r}, 'lease', 'status', '--json'], stdout=open({str(held)!r}, 'wb')); main()"
    )
    pod = pods.start("work", job, program=(sys.executable, "-c", impatient))
    eventually("a call runs", lambda: executed(Path(f"{log}.begun")) or not pod.run.running)
    pod.run.send(signal.SIGTERM)
    pod.wait().expect(RunnerExit.STOPPED)
    (gpu,) = json.loads(held.read_text())["limits"]
    assert gpu["held"] == 1, "it was given up while the call still ran"
    eventually("its end frees the slot", lambda: lab.limits()["gpu"]["held"] == 0)


def test_a_pod_that_waits_for_a_slot_stops_at_once(lab: Lab, pods: Pods) -> None:
    log = lab.folder / "log"
    pods.limit("gpu", 1, active=False)
    pod = pods.start("work", pods.job(steps(log, limit="gpu"), inputs(IMAGES), chunkSize=CHUNK))
    eventually("it says what it waits for", lambda: "Waiting: limit 'gpu' is not active" in pod.log or not pod.run.running)
    with elapsed() as seconds:
        pod.run.send(signal.SIGTERM)
        pod.wait().expect(RunnerExit.STOPPED)
    assert seconds[0] < 3
    assert lab.limits()["gpu"]["waiting"] == 0
    assert not executed(log)


def test_a_limit_that_comes_back_is_taken(lab: Lab, pods: Pods) -> None:
    log = lab.folder / "log"
    pod = pods.start("work", pods.job(steps(log, limit="gpu"), inputs(10), chunkSize=CHUNK))
    eventually("it says what it waits for", lambda: "Waiting: " in pod.log or not pod.run.running)
    assert not executed(log)
    pods.limit("gpu", 1)
    assert pod.wait().expect(RunnerExit.DONE).result.images.succeeded == 10


def test_two_pods_of_one_index_do_no_harm(lab: Lab, pods: Pods) -> None:
    log = lab.folder / "log"
    pods.limit("gpu", 2)
    job = pods.job(steps(log, 0.005, "gpu"), inputs(IMAGES), chunkSize=CHUNK)
    twins = [pods.start("work", job) for _ in range(2)]
    ended = [twin.wait().expect(RunnerExit.DONE) for twin in twins]
    assert [pod.result.images.succeeded for pod in ended] == [IMAGES, IMAGES]
    assert len(summaries(ended)) == 2
    assert set(executed(log)) == {row["id"] for row in lab.output().rows()}
    lab.verify()


def test_other_pods_in_number_go_on_where_fewer_stopped(lab: Lab, pods: Pods) -> None:
    log = lab.folder / "log"
    pods.limit("gpu", 4)
    job = pods.job(steps(log, 0.01, "gpu"), inputs(IMAGES), chunkSize=CHUNK, parallelism=2)
    pod = pods.start("work", job)
    eventually("three chunks", lambda: len(lab.output().parts()) >= 3 or not pod.run.running)
    pod.run.send(signal.SIGTERM)
    pod.wait().expect(RunnerExit.STOPPED)
    ended = [each.expect(RunnerExit.DONE) for each in pods.run_all(job, of=3)]
    assert sum(each.result.images.succeeded for each in ended) == IMAGES
    assert summaries(ended)
    lab.verify()


def test_failed_and_skipped_rows_are_counted_as_such_also_by_the_pod_that_finds_them(lab: Lab, pods: Pods) -> None:
    log = lab.folder / "log"
    source = inputs_from(
        lab.folder / "list.jsonl", [(name, "file:///x") for name in ("fine", "raises", "skip", "nan", "good", "image error")]
    )
    job = pods.job([call("work", "misbehave", retries={"limit": 0}, arguments={"log": str(log)})], source, chunkSize=2)
    pods.run("plan", job).expect(RunnerExit.DONE)
    for _ in range(2):
        ended = pods.run("work", job).expect(RunnerExit.DONE)
        images = ended.result.images
        assert (images.succeeded, images.failed, images.skipped) == (2, 3, 1)
        (summary,) = summaries([ended])
        assert (summary.total, summary.succeeded, summary.failed, summary.skipped, summary.within_policy) == (6, 2, 3, 1, False)
        assert summary.most_failed is not None
        assert (summary.most_failed.code, summary.most_failed.count) == ("CallFailed", 1)
        assert summary.most_failed.example.startswith("raises: ")
    assert len(executed(log)) == 6


def test_failed_rows_are_done_again_and_the_summary_is_left_to_finish(lab: Lab, pods: Pods) -> None:
    log = lab.folder / "log"
    entries = [(name, "file:///x") for name in ("fine", "raises once", "good", "raises")]
    source = inputs_from(lab.folder / "list.jsonl", entries)
    step = call("work", "misbehave", retries={"limit": 0}, arguments={"log": str(log)})
    pods.run("plan", pods.job([step], source, chunkSize=2)).expect(RunnerExit.DONE)
    first = pods.run("work", pods.job([step], source, chunkSize=2)).expect(RunnerExit.DONE)
    assert first.result.images.failed == 2
    again = pods.job([step], source, chunkSize=2, failurePolicy={"retryFailed": True, "maxFailureRate": 0.5})
    ended = [pod.expect(RunnerExit.DONE) for pod in pods.run_all(again, of=2)]
    assert summaries(ended) == [], "the other pod may still be at it"
    assert not lab.output().succeeded
    assert sum(pod.result.images.succeeded for pod in ended) == 3
    finished = pods.run("finish", again).expect(RunnerExit.DONE)
    most = FailedImages(code="CallFailed", count=1, example="raises: tests.process.functions:misbehave: ValueError: cannot do this")
    assert summaries([finished]) == [SummaryReport(total=4, succeeded=3, failed=1, skipped=0, within_policy=True, most_failed=most)]
    lab.verify()


def test_finish_tells_the_summary_and_changes_nothing_of_a_finished_output(lab: Lab, pods: Pods) -> None:
    job = pods.job(steps(lab.folder / "log"), inputs(20), chunkSize=CHUNK)
    worked = pods.run("work", job).expect(RunnerExit.DONE)
    before = {path: path.stat().st_mtime_ns for path in lab.output().folder.rglob("*")}
    finished = pods.run("finish", job).expect(RunnerExit.DONE)
    assert summaries([finished]) == summaries([worked])
    assert {path: path.stat().st_mtime_ns for path in lab.output().folder.rglob("*")} == before


def test_pods_with_an_output_in_a_bucket_stop_and_go_on(lab: Lab, pods: Pods, s3: S3Server) -> None:
    log, url = lab.folder / "log", s3.url("pods")
    pods.limit("gpu", 2)
    job = pods.job(steps(log, 0.02, "gpu"), inputs(IMAGES), output={"url": url}, chunkSize=CHUNK, parallelism=2)
    pair = [pods.start("work", job, index=index, of=2) for index in range(2)]
    eventually("images", lambda: len(executed(log)) > 3 * CHUNK)
    for pod in pair:
        pod.run.send(signal.SIGTERM)
    stopped = [pod.wait().expect(RunnerExit.STOPPED).result.images.succeeded for pod in pair]
    assert 0 < sum(stopped) < IMAGES
    ended = [pod.expect(RunnerExit.DONE) for pod in pods.run_all(job, of=2)]
    assert sum(pod.result.images.succeeded for pod in ended) == IMAGES
    assert summaries(ended)
    assert lab.verify(url=url)["images"]["succeeded"] == IMAGES


def test_a_pod_that_lists_a_source_can_be_stopped(lab: Lab, pods: Pods) -> None:
    with serving({"/list.txt": stalls}) as web:
        download: Step = {"name": "download", "download": {"allowedNetworks": [f"{ALLOWED}/32"]}}
        pod = pods.start("plan", pods.job([download], {"manifest": {"url": web.url("/list.txt")}}))
        eventually("it asks for the list", lambda: web.asked["/list.txt"] > 0)
        with elapsed() as seconds:
            pod.run.send(signal.SIGTERM)
            pod.wait().expect(RunnerExit.STOPPED)
    assert seconds[0] < 5
    assert not lab.output().folder.exists()


def test_a_pod_that_fetches_a_model_can_be_stopped(pods: Pods) -> None:
    with serving({"/weights": stalls}) as web:
        model = {"architecture": "tests.process.networks:mean_colour", "weights": web.url("/weights")}
        pods.lab.environment["IMAGEJOB_ALLOWED_NETWORKS"] = f"{ALLOWED}/32"
        infer: list[Step] = [{"name": "download", "download": {}}, {"name": "look", "infer": {"model": model}}]
        pod = pods.start("work", pods.job(infer, inputs(4)))
        eventually("it asks for the model", lambda: web.asked["/weights"] > 0)
        with elapsed() as seconds:
            pod.run.send(signal.SIGTERM)
            pod.wait().expect(RunnerExit.STOPPED)
        assert seconds[0] < 5

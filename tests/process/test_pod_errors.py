"""Pods that cannot go on: which exit code, which words, how soon, and what is left in the output."""

from hashlib import sha256
from pathlib import Path

import pytest

from imagejob_api.pod import RunnerExit
from tests.process import pictures
from tests.process.harness import Lab, Step, call, inputs, inputs_from
from tests.process.pods import Pods, executed

CHUNK = 8


@pytest.fixture
def pods(lab: Lab) -> Pods:
    return Pods(lab)


def noting(lab: Lab) -> list[Step]:
    return [call("work", "note", arguments={"log": str(lab.folder / "log")})]


def inferring(weights: Path, digest: str) -> list[Step]:
    model = {"architecture": "tests.process.networks:mean_colour", "weights": str(weights), "sha256": digest}
    return [{"name": "download", "download": {}}, {"name": "look", "infer": {"model": model}}]


def in_the_way_of_torch(lab: Lab, code: str) -> None:
    """What every process from now on runs that imports torch."""
    folder = lab.folder / "in the way"
    folder.mkdir()
    (folder / "torch.py").write_text(code)
    lab.environment["PYTHONPATH"] = str(folder)


def nothing_written(folder: Path) -> bool:
    return not any(path.is_file() for path in folder.rglob("*"))


@pytest.mark.parametrize("source", ["urls", "manifest"])
def test_a_model_of_another_digest_is_refused_without_waiting_for_anything_slow(lab: Lab, pods: Pods, source: str) -> None:
    weights = lab.folder / "weights.safetensors"
    weights.write_bytes(b"these are not the weights that are meant")
    given = inputs(4) if source == "urls" else inputs_from(lab.folder / "list.jsonl", [("a", "file:///a.jpg")])
    wrong = pods.job(inferring(weights, "0" * 64), given)
    in_the_way_of_torch(lab, "import threading\nthreading.Event().wait()\n")  # importing it takes seconds
    ended = pods.run("work" if source == "urls" else "plan", wrong).expect(RunnerExit.MODEL_REFUSED)
    assert "steps.look.infer.model.weights" in ended.error
    assert sha256(weights.read_bytes()).hexdigest() in ended.error
    assert "Traceback" not in ended.log
    assert nothing_written(lab.output().folder)


def test_a_model_that_changes_after_the_plan_is_refused_by_the_pods_that_work(lab: Lab, pods: Pods) -> None:
    weights = lab.folder / "weights.safetensors"
    weights.write_bytes(b"one")
    pictures.write_all(lab.folder / "photos", {"a.jpg": pictures.photo(1)})
    job = pods.job(inferring(weights, sha256(b"one").hexdigest()), {"prefix": {"url": str(lab.folder / "photos")}})
    pods.run("plan", job).expect(RunnerExit.DONE)
    weights.write_bytes(b"two")
    assert "is another file than the one meant" in pods.run("work", job).expect(RunnerExit.MODEL_REFUSED).error


def test_a_model_that_is_not_there_is_refused(lab: Lab, pods: Pods) -> None:
    job = pods.job(inferring(lab.folder / "no such file", "0" * 64), inputs(4))
    assert "does not exist" in pods.run("work", job).expect(RunnerExit.MODEL_REFUSED).error


def test_duplicates_in_the_source_are_refused(lab: Lab, pods: Pods) -> None:
    source = inputs_from(lab.folder / "list.jsonl", [("a", "file:///1"), ("b", "file:///2"), ("a", "file:///3")])
    ended = pods.run("plan", pods.job(noting(lab), source)).expect(RunnerExit.INVALID_SOURCE)
    assert "inputs 1 and 3 of the source both have the id 'a'" in ended.error
    assert nothing_written(lab.output().folder)


def test_the_output_of_another_job_is_refused(lab: Lab, pods: Pods) -> None:
    pods.run("work", pods.job(noting(lab), inputs(10), chunkSize=CHUNK)).expect(RunnerExit.DONE)
    other = pods.job(noting(lab), inputs(11), chunkSize=CHUNK)
    assert "1 inputs added" in pods.run("work", other).expect(RunnerExit.OUTPUT_REFUSED).error
    changed = pods.job([call("work", "note", arguments={"log": "elsewhere"})], inputs(10), chunkSize=CHUNK)
    assert "pipeline.steps.work.call.arguments.log" in pods.run("work", changed).expect(RunnerExit.OUTPUT_REFUSED).error


def test_a_plan_of_another_pipeline_is_refused_by_the_pods_that_work(lab: Lab, pods: Pods) -> None:
    source = inputs_from(lab.folder / "list.jsonl", [("a", "file:///1")])
    pods.run("plan", pods.job(noting(lab), source)).expect(RunnerExit.DONE)
    changed = pods.job([call("work", "note", arguments={"log": "elsewhere"})], source)
    ended = pods.run("work", changed).expect(RunnerExit.OUTPUT_REFUSED)
    assert "pipeline.steps.work.call.arguments.log" in ended.error
    assert "It has no rows yet" in ended.error


def test_a_function_that_is_not_there_is_found_before_anything_is_written(lab: Lab, pods: Pods) -> None:
    wrong = pods.job([call("work", "no_such_function")], inputs(4))
    ended = pods.run("work", wrong).expect(RunnerExit.INVALID_JOB)
    assert "no_such_function" in ended.error
    assert nothing_written(lab.output().folder)
    assert pods.run("work", pods.job(noting(lab), inputs(4))).expect(RunnerExit.DONE).result.images.succeeded == 4


def test_an_output_that_must_be_empty_may_hold_what_pods_of_the_same_job_have_done(lab: Lab, pods: Pods) -> None:
    where = {"ifExists": "fail"}
    job = pods.job(noting(lab), inputs(40), output=where, chunkSize=CHUNK, parallelism=2)
    for ended in pods.run_all(job, of=2):
        ended.expect(RunnerExit.DONE)
    pods.run("work", job, index=1, of=2).expect(RunnerExit.DONE)
    other = pods.job(noting(lab), inputs(40), uid="another", output=where, chunkSize=CHUNK)
    assert "output.ifExists is fail" in pods.run("work", other).expect(RunnerExit.OUTPUT_REFUSED).error
    assert len(executed(lab.folder / "log")) == 40


@pytest.mark.parametrize("source", ["urls", "manifest"])
def test_an_output_that_cannot_be_written_ends_the_job_before_its_source_is_read(lab: Lab, pods: Pods, source: str) -> None:
    (lab.folder / "file").touch()
    given = inputs(4) if source == "urls" else {"manifest": {"url": str(lab.folder / "no such list.jsonl")}}
    job = pods.job(noting(lab), given, output={"url": str(lab.folder / "file" / "below")})
    ended = pods.run("work" if source == "urls" else "plan", job).expect(RunnerExit.STORAGE_REFUSED)
    assert "check that the folder exists" in ended.error


def test_work_without_a_plan_waits_for_another_attempt(lab: Lab, pods: Pods) -> None:
    job = pods.job(noting(lab), inputs_from(lab.folder / "list.jsonl", [("a", "file:///1")]))
    assert "holds no plan" in pods.run("work", job).expect(RunnerExit.STORAGE).error


@pytest.mark.parametrize("text", ["", "{", '{"name": "x"}', "[]"])
def test_a_job_file_that_holds_no_job(lab: Lab, pods: Pods, text: str) -> None:
    file = lab.folder / "broken.json"
    file.write_text(text)
    ended = pods.run("work", file).expect(RunnerExit.INVALID_JOB)
    assert f"the job file {file} holds no job" in ended.error


def test_a_module_that_fails_when_it_is_imported_is_the_job_s_fault(lab: Lab, pods: Pods) -> None:
    job = pods.job([{"name": "work", "call": {"function": "tests.process.breaks_on_import:anything"}}], inputs(4))
    ended = pods.run("work", job).expect(RunnerExit.INVALID_JOB)
    assert "ZeroDivisionError: division by zero" in ended.error
    assert "breaks_on_import.py, line 3" in ended.error
    assert nothing_written(lab.output().folder)


def test_an_image_without_torch_is_refused_by_the_name_of_what_it_lacks(lab: Lab, pods: Pods) -> None:
    weights = lab.folder / "weights.safetensors"
    weights.write_bytes(b"weights")
    job = pods.job(inferring(weights, sha256(b"weights").hexdigest()), inputs(4))
    in_the_way_of_torch(lab, "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    ended = pods.run("work", job).expect(RunnerExit.INVALID_JOB)
    assert "torch" in ended.error
    assert "template.image" in ended.error
    assert "report it" not in ended.error
    assert "Traceback" not in ended.log


def test_what_nobody_expects_keeps_its_traceback(lab: Lab, pods: Pods) -> None:
    weights = lab.folder / "weights.safetensors"
    weights.write_bytes(b"weights")
    job = pods.job(inferring(weights, sha256(b"weights").hexdigest()), inputs(4))
    in_the_way_of_torch(lab, "1 / 0\n")
    ended = pods.run("work", job).expect(RunnerExit.CRASHED)
    assert "ZeroDivisionError" in ended.error
    assert "Traceback" in ended.log

"""What may fail before a job counts as failed, what is tried again, and what ends a run before its time."""

import re
import sys

import pytest

from tests.process import pictures
from tests.process.harness import Lab, call, codes, elapsed, inputs, inputs_from


def failing(lab: Lab, count: int, every: int, **policy: object) -> list[object]:
    """A job of which each n-th image fails, its log."""
    log = lab.folder / "log"
    step = call("work", "fail_each", arguments={"log": str(log), "every": every, "seconds": 0.005}, retries={"limit": 0}, concurrency=1)
    return [lab.job([step], inputs(count), chunkSize=10, failurePolicy=policy), log]


def test_more_failures_than_max_failures_end_the_run_early(lab: Lab) -> None:
    job, log = failing(lab, 500, 2, maxFailures=3, maxFailureRate=1)
    ended = lab.run(job).expect(1)
    assert "failurePolicy.maxFailures allows 3" in ended.answer["message"]
    assert ended.answer["phase"] == "Failed"
    assert len(log.read_text().splitlines()) < 500
    rows = lab.output().by_id()
    images = ended.answer["images"]
    assert images["failed"] == sum(row["status"] == "failed" for row in rows.values())
    assert images["succeeded"] + images["failed"] == len(rows) < 500
    assert not lab.output().succeeded


def test_the_failure_rate_is_looked_at_from_the_hundredth_image_on(lab: Lab) -> None:
    job, log = failing(lab, 600, 2)
    ended = lab.run(job).expect(1)
    assert re.search(r"failurePolicy.maxFailureRate allows a part of 0.1", ended.answer["message"])
    assert 100 <= len(log.read_text().splitlines()) < 600


def test_a_small_job_does_all_its_images_and_is_judged_at_the_end(lab: Lab) -> None:
    job, log = failing(lab, 60, 2)
    ended = lab.run(job).expect(1)
    assert len(log.read_text().splitlines()) == 60
    assert ended.answer["images"] == {"total": 60, "succeeded": 30, "failed": 30, "skipped": 0}
    assert "errors.jsonl" in ended.answer["message"]
    assert len((lab.output().folder / "errors.jsonl").read_text().splitlines()) == 30
    assert not lab.output().succeeded
    lab.verify()


def test_failures_within_the_allowed_rate_are_a_success_with_its_own_exit_code(lab: Lab) -> None:
    job, _ = failing(lab, 60, 10)
    ended = lab.run(job).expect(5)
    assert ended.answer["phase"] == "Succeeded"
    assert ended.answer["errors"] == {"CallFailed": 6}
    assert lab.output().succeeded
    lab.verify()


def test_failed_images_are_done_once_more_when_asked_for(lab: Lab) -> None:
    photos = lab.folder / "photos"
    pictures.write_all(photos, {f"{number}.jpg": pictures.photo(number, (32, 24)) for number in range(12) if number % 5})
    source = inputs_from(lab.folder / "list.jsonl", [(str(number), f"{photos}/{number}.jpg") for number in range(12)])
    steps = [{"name": "download", "download": {}}, call("work", "note", arguments={"log": str(lab.folder / "log")})]
    job = lab.job(steps, source, chunkSize=4)
    lab.run(job).expect(1)
    before = lab.output().by_id()
    assert [name for name, code in codes(before).items() if code == "NotFound"] == ["0", "5", "10"]

    lab.run(job).expect(1)
    assert len((lab.folder / "log").read_text().splitlines()) == 9, "without being asked nothing is done again"

    pictures.write_all(photos, {f"{number}.jpg": pictures.photo(number, (32, 24)) for number in (0, 10)})
    again = lab.job(steps, source, chunkSize=4, failurePolicy={"retryFailed": True})
    ended = lab.run(again).expect(5)
    assert ended.answer["images"] == {"total": 12, "succeeded": 11, "failed": 1, "skipped": 0}
    after = lab.output().by_id()
    assert [name for name, code in codes(after).items() if code == "NotFound"] == ["5"]
    assert {name: row for name, row in before.items() if not row["error"]} == {
        name: after[name] for name in before if not before[name]["error"]
    }
    assert list(after) == list(before)
    assert lab.output().succeeded
    lab.verify()

    pictures.write_all(photos, {"5.jpg": pictures.photo(5, (32, 24))})
    lab.run(again).expect(0)
    assert sorted((lab.folder / "log").read_text().split(), key=int) == [str(number) for number in range(12)], "each succeeded once"
    assert (lab.output().folder / "errors.jsonl").read_text() == ""
    lab.verify()


def test_a_function_that_always_takes_its_process_down_is_given_up(lab: Lab) -> None:
    step = call("work", "exit_process", concurrency=1, arguments={"marker": "", "victim": "image-0009"})
    job = lab.job([step], inputs(12), chunkSize=4, failurePolicy={"backoffLimitPerShard": 2})
    ended = lab.run(job).expect(1)
    assert "The process of shard 0 crashed 3 times (last: exit code 1)" in ended.answer["message"]
    assert "backoffLimitPerShard allows 2 restarts" in ended.answer["message"]
    kept = [row["id"] for row in lab.output().rows()]
    assert kept == [f"image-{number:04}" for number in range(len(kept))]
    assert len(kept) in (4, 8), "of the chunks before it the last may still be being written"


def test_a_process_that_crashes_once_is_started_again(lab: Lab) -> None:
    step = call("work", "exit_process", arguments={"marker": str(lab.folder / "crashed"), "victim": "image-0005"})
    lab.run(lab.job([step], inputs(12), chunkSize=4)).expect(0)
    lab.verify()


def test_a_job_that_runs_for_too_long_is_ended_and_goes_on_later(lab: Lab) -> None:
    log, pace = lab.folder / "log", lab.folder / "pace"
    pace.write_text("0.1")
    step = call("work", "note_at_pace", limit="gpu", arguments={"log": str(log), "pace": str(pace)})
    with elapsed() as seconds:
        ended = lab.run(lab.job([step], inputs(400), chunkSize=2, activeDeadlineSeconds=4)).expect(124)
    assert 4 <= seconds[0] < 30
    assert "activeDeadlineSeconds: 4 s have passed" in ended.answer["message"]
    assert lab.limits()["gpu"]["held"] == 0
    rows = len(lab.output().rows())
    assert rows == ended.answer["images"]["succeeded"] < 400
    pace.write_text("0")
    lab.run(lab.job([step], inputs(400), chunkSize=2)).expect(0)
    assert len(log.read_text().splitlines()) - 400 <= 4
    lab.verify()


def test_a_function_that_never_returns_does_not_outlive_its_job_for_long(lab: Lab) -> None:
    pace = lab.folder / "pace"
    pace.write_text("1000")
    step = call("work", "note_at_pace", limit="gpu", arguments={"log": str(lab.folder / "log"), "pace": str(pace)})
    job = lab.job([step], inputs(4), activeDeadlineSeconds=4)
    impatient = "import imagejob_runner.local.supervisor as s; s.GRACE_SECONDS = 1; from imagejob_cli.main import main; main()"
    lab.start("run", "-f", job, "--json", program=(sys.executable, "-c", impatient)).wait(60).expect(124)
    assert lab.limits()["gpu"]["held"] == 0


@pytest.mark.parametrize("flag", ["suspend", "cancel"])
def test_a_job_that_is_suspended_or_cancelled_is_not_run(lab: Lab, flag: str) -> None:
    job = lab.job([call("work", "note", arguments={"log": str(lab.folder / "log")})], inputs(1), **{flag: True})
    assert flag in lab.run(job).expect(4).err
    assert not lab.output().folder.exists()


def test_a_limit_that_is_not_defined_is_told_before_anything_runs(lab: Lab) -> None:
    step = call("work", "note", limit="licence", arguments={"log": str(lab.folder / "log")})
    ended = lab.run(lab.job([step], inputs(1), slots=None)).expect(2)
    assert "licence" in ended.err
    assert "NodeLimit" in ended.err
    assert not lab.output().folder.exists()

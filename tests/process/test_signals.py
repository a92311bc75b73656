"""Ctrl-C, SIGTERM and closed terminals: what is whole is committed, slots are free at once, and the same command goes on."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.process.harness import Lab, Run, call, elapsed, eventually, inputs
from tests.process.web import ALLOWED, serving, stalls

IMAGES, CHUNK, WORKERS = 60, 8, 2
HANGS = "1000"


def paced(lab: Lab, seconds: str, *, images: int = IMAGES, slots: int = 1, **spec: object) -> tuple[Path, Path, Path]:
    """A job whose images take as long as a file says; the job, its log and that file."""
    log, pace = lab.folder / "log", lab.folder / "pace"
    pace.write_text(seconds)
    step = call("work", "note_at_pace", limit="gpu", hold="50ms", arguments={"log": str(log), "pace": str(pace)})
    return lab.job([step], inputs(images), slots=slots, parallelism=WORKERS, chunkSize=CHUNK, **spec), log, pace


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def after(log: Path, images: int, run: Run) -> None:
    """Waits until some images have been worked on."""
    eventually("images", lambda: len(lines(log)) >= images or not run.running)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("whom", ["the command", "its process group"])
def test_a_run_that_is_interrupted_commits_what_is_whole_and_goes_on_later(lab: Lab, number: signal.Signals, whom: str) -> None:
    job, log, pace = paced(lab, "0.02")
    run = lab.start_job(job)
    after(log, 2 * CHUNK * WORKERS, run)
    if whom == "the command":
        run.send(number)
    else:
        os.killpg(run.process.pid, number)
    with elapsed() as seconds:
        ended = run.wait().expect(130)
    assert seconds[0] < 5
    assert {limit: (state["held"], state["waiting"]) for limit, state in lab.limits().items()} == {"gpu": (0, 0)}
    assert "Ending: batches at work are finished and what is whole is committed." in ended.err
    assert "Run the same command again" in ended.answer["message"]
    assert ended.answer["phase"] == "Suspended"

    rows = lab.output().rows()
    assert 0 < len(rows) < IMAGES
    assert {len(part.read_text().splitlines()) for part in lab.output().parts()} <= {CHUNK, IMAGES % CHUNK}
    assert ended.answer["images"] == {"total": IMAGES, "succeeded": len(rows), "failed": 0, "skipped": 0}
    assert not lab.output().succeeded
    assert len(lines(log)) - len(rows) <= WORKERS * CHUNK

    pace.write_text("0")
    lab.run(job).expect(0)
    assert len(lines(log)) - IMAGES <= WORKERS * CHUNK
    lab.verify()


def test_the_second_signal_ends_a_run_at_once_whichever_it_is(lab: Lab) -> None:
    job, log, pace = paced(lab, HANGS, slots=WORKERS)
    run = lab.start_job(job)
    after(Path(f"{log}.begun"), WORKERS, run)
    run.send(signal.SIGINT)
    eventually("it says that it is ending", lambda: "again to end at once" in run.err.read_text())
    assert run.running
    run.send(signal.SIGTERM)
    with elapsed() as seconds:
        ended = run.wait().expect(130)
    assert seconds[0] < 5
    assert "Ending at once" in ended.err
    eventually("no process is left", lambda: not run.group(), within=5)
    assert lab.limits()["gpu"]["held"] == 0
    pace.write_text("0")
    lab.run(job).expect(0)
    lab.verify()


def test_rows_that_failed_before_still_count_as_failed_in_a_run_that_is_interrupted_again(lab: Lab) -> None:
    log = lab.folder / "log"
    step = call("work", "fail_each", limit="gpu", retries={"limit": 0}, arguments={"log": str(log), "every": 3, "seconds": 0.02})
    job = lab.job([step], inputs(IMAGES), chunkSize=CHUNK, shards=2, failurePolicy={"maxFailureRate": 1})
    for target in (2 * CHUNK, 4 * CHUNK):
        run = lab.start_job(job)
        after(log, target, run)
        run.send(signal.SIGINT)
        ended = run.wait().expect(130)
        statuses = Counter(row["status"] for row in lab.output().rows())
        assert statuses["failed"] > 0
        images = ended.answer["images"]
        assert images == {"total": IMAGES, "succeeded": statuses["ok"], "failed": statuses["failed"], "skipped": 0}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_when_the_terminal_closes_the_runners_end_by_themselves_and_free_their_slots(lab: Lab, number: signal.Signals) -> None:
    job, log, pace = paced(lab, "0.05", images=900)
    run = lab.start_job(job)
    after(log, 2 * WORKERS, run)
    if number is signal.SIGKILL:
        run.send(number)
    else:
        os.killpg(run.process.pid, number)
    begun = time.monotonic()
    eventually("all processes have ended", lambda: not run.group(), within=10)
    ended = time.monotonic() - begun
    state = lab.limits()["gpu"]
    assert (state["held"], state["waiting"]) == (0, 0)
    assert ended < 2
    pace.write_text("0")
    lab.run(job).expect(0)
    lab.verify()


def test_a_run_that_waits_for_a_slot_can_be_interrupted(lab: Lab) -> None:
    job, log, _ = paced(lab, "0", images=CHUNK, name="job")
    lab.start("lease", "define", "gpu", "--slots", "1").wait().expect(0)
    other = lab.start("lease", "exec", "gpu", "--", "sleep", HANGS)
    eventually("the slot is taken", lambda: lab.limits()["gpu"]["held"] == 1)
    run = lab.start_job(job)
    eventually("the run waits", lambda: lab.limits()["gpu"]["waiting"] > 0)
    run.send(signal.SIGINT)
    with elapsed() as seconds:
        run.wait().expect(130)
    assert seconds[0] < 5
    state = lab.limits()["gpu"]
    assert (state["held"], state["waiting"]) == (1, 0)
    other.send(signal.SIGTERM)
    other.wait()
    lab.run(job).expect(0)
    assert len(lines(log)) == CHUNK


def test_a_runner_that_is_told_to_end_is_started_again(lab: Lab) -> None:
    job, log, pace = paced(lab, "0.02")
    run = lab.start_job(job)
    after(log, CHUNK, run)
    eventually("a runner", run.runners)[0].terminate()
    pace.write_text("0")
    run.wait().expect(0)
    assert len(lines(log)) - IMAGES <= CHUNK
    lab.verify()


def test_a_run_that_still_plans_can_be_interrupted(lab: Lab) -> None:
    with serving({"/list.txt": stalls}) as web:
        steps = [{"name": "download", "download": {"allowedNetworks": [f"{ALLOWED}/32"]}}]
        run = lab.start_job(lab.job(steps, {"manifest": {"url": web.url("/list.txt")}}))
        eventually("it asks for the list", lambda: web.asked["/list.txt"] > 0)
        run.send(signal.SIGINT)
        with elapsed() as seconds:
            ended = run.wait().expect(130)
    assert seconds[0] < 5
    assert "Traceback" not in ended.err
    assert not (lab.output().folder / "_imagejob" / "plan.json").exists()


def test_the_deadline_holds_for_planning_too(lab: Lab) -> None:
    with serving({"/list.txt": stalls}) as web:
        steps = [{"name": "download", "download": {"allowedNetworks": [f"{ALLOWED}/32"]}}]
        job = lab.job(steps, {"manifest": {"url": web.url("/list.txt")}}, activeDeadlineSeconds=1)
        ended = lab.start_job(job).wait(within=30).expect(124)
    assert "activeDeadlineSeconds: 1 s have passed" in ended.answer["message"]

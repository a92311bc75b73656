"""`kill -9` at random moments: nothing is lost, repeated or torn, and at most two chunks for each killed worker are done again."""

import contextlib
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.process import pictures
from tests.process.conftest import Journal
from tests.process.harness import Lab, Output, Run, call, comparable, eventually, inputs
from tests.process.test_hostile_inputs import INFER

KILLS = 20
CHUNK = 8
WORKERS = 2


def executions(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def a_moment(chance: random.Random, run: Run, log: Path, *, starting: float) -> str:
    """Waits for a random moment of a run, and says which: within the seconds that it takes to start, or while it works."""
    begun, before = time.monotonic(), len(executions(log))
    if chance.random() < 0.25:
        after = chance.uniform(0, starting)
        eventually("the moment", lambda: time.monotonic() - begun >= after or not run.running)
        return f"{1000 * after:.0f} ms after its start"
    images, pause = chance.randrange(40), chance.uniform(0, 0.02)
    eventually("images", lambda: len(executions(log)) > before + images or not run.running)
    reached = time.monotonic()
    eventually("the moment", lambda: time.monotonic() - reached >= pause)
    return f"{1000 * pause:.0f} ms after {images} images"


def undisturbed(lab: Lab, images: int) -> Output:
    steps = [call("work", "note", limit="gpu", arguments={"log": str(lab.folder / "log")})]
    lab.run(lab.job(steps, inputs(images), name="calm", chunkSize=CHUNK)).expect(0)
    return lab.output("calm")


def a_job(lab: Lab, images: int, log: Path, **spec: object) -> Path:
    steps = [call("work", "note", limit="gpu", hold="50ms", arguments={"log": str(log), "seconds": 0.004})]
    return lab.job(steps, inputs(images), parallelism=WORKERS, chunkSize=CHUNK, **spec)


def same_but_for_the_log(output: Output, calm: Output) -> bool:
    return comparable(output.rows()) == comparable(calm.rows())


def test_the_whole_run_is_killed_and_started_again(lab: Lab, chance: random.Random, journal: Journal) -> None:
    log, images = lab.folder / "executed", 800
    job, output, wasted = a_job(lab, images, log), lab.output(), 0
    for number in range(KILLS):
        run = lab.start_job(job)
        moment = a_moment(chance, run, log, starting=1.5)
        run.kill_group()
        server = lab.lease_server()
        if server is not None and chance.random() < 0.5:
            server.kill()
            moment += ", with the server of the limits"
        lost = len(executions(log)) - len(output.rows()) - wasted
        journal.say(f"kill {number}: {moment}; {lost} images lost")
        assert lost <= WORKERS * 2 * CHUNK, "more than the chunk that is computed and the one that is written were lost"
        wasted += lost
    lab.run(job).expect(0)
    again = len(executions(log)) - images
    journal.figure(f"{again} of {images} images done again after {KILLS} kills of {WORKERS} workers")
    lab.verify()
    assert output.succeeded
    assert again == wasted, "what was committed was done again"
    assert set(Counter(executions(log))) == {row["id"] for row in output.rows()}
    assert same_but_for_the_log(output, undisturbed(lab, images))


def test_single_runners_are_killed(lab: Lab, chance: random.Random, journal: Journal) -> None:
    images, kills, again = 600, 0, 0
    calm = comparable(undisturbed(lab, images).rows())
    for round_ in range(KILLS):
        log = lab.folder / f"executed-{round_}"
        job = a_job(lab, images, log, name=f"job-{round_}", failurePolicy={"backoffLimitPerShard": 100})
        run = lab.start_job(job)
        while kills < KILLS and run.running:
            moment = a_moment(chance, run, log, starting=0.2)
            runners = run.runners()
            with contextlib.suppress(psutil.NoSuchProcess, IndexError):
                chance.choice(runners).kill()
                journal.say(f"kill {kills}: {moment}")
                kills += 1
        run.wait().expect(0)
        again += len(executions(log)) - images
        lab.verify(f"job-{round_}")
        assert comparable(lab.output(f"job-{round_}").rows()) == calm
        if kills == KILLS:
            break
    journal.figure(f"{again} images done again after {kills} kills of one worker")
    assert kills == KILLS
    assert again <= KILLS * 2 * CHUNK, "more than two chunks for each killed worker were done again"


@pytest.mark.parametrize("point", [0, 1])
def test_a_runner_dies_at_the_write_of_a_chunk(lab: Lab, point: int) -> None:
    log = lab.folder / "executed"
    steps = [call("work", "die_at_commit", concurrency=1, arguments={"log": str(log), "point": point})]
    lab.run(lab.job(steps, inputs(24), chunkSize=CHUNK)).expect(0)
    lab.verify()
    again = len(executions(log)) - 24
    written = 0 if point == 0 else CHUNK
    assert CHUNK - written <= again <= 2 * CHUNK - written, "the chunk that was written, if it was not, and what was computed meanwhile"


def test_a_run_dies_at_each_write_of_planning_and_of_the_end(lab: Lab) -> None:
    survived, point = False, 0
    while not survived:
        log = lab.folder / f"executed-{point}"
        job = lab.job([call("work", "note", arguments={"log": str(log)})], inputs(4), name=f"job-{point}")
        crashing = (sys.executable, "-m", "tests.process.crashing", str(point))
        ended = lab.start("run", "-f", job, "--json", program=crashing).wait()
        survived = ended.code == 0
        assert survived or ended.code == -signal.SIGKILL, ended.err
        if lab.output(f"job-{point}").succeeded:
            lab.output(f"job-{point}").prove()
        lab.run(job).expect(0)
        lab.output(f"job-{point}").prove()
        assert lab.output(f"job-{point}").succeeded
        assert len(executions(log)) == 4, "a chunk that was committed was done again"
        point += 1
    assert point > 2 * len(["manifest", "plan", "errors.jsonl", "summary.json", "_SUCCESS"])


def test_tiny_runs_are_killed_while_they_plan_and_while_they_end(lab: Lab, chance: random.Random, journal: Journal) -> None:
    for number in range(10):
        log, output = lab.folder / f"executed-{number}", lab.output(f"job-{number}")
        steps = [call("work", "note", arguments={"log": str(log)})]
        job = lab.job(steps, inputs(24), name=f"job-{number}", chunkSize=CHUNK, parallelism=WORKERS)
        run, planning = lab.start_job(job), bool(number % 2)
        if planning:
            eventually("the output", lambda made=output: made.folder.exists())
        else:
            eventually("the last chunk", lambda made=output: len(made.parts()) == 3)
        reached, pause = time.monotonic(), chance.uniform(0, 0.03)
        eventually("the moment", lambda since=reached, after=pause: time.monotonic() - since >= after)
        run.kill_group()
        left = sorted(path.relative_to(output.folder).as_posix() for path in output.folder.rglob("*") if path.is_file())
        journal.say(f"killed {1000 * pause:.1f} ms into {'planning' if planning else 'the end'}: {len(left)} files, {left[-1:]}")
        lab.run(job).expect(0)
        output.prove()
        assert output.succeeded


def test_a_run_goes_on_when_the_server_of_the_limits_is_killed(lab: Lab, chance: random.Random, journal: Journal) -> None:
    log, images, kills = lab.folder / "executed", 600, 0
    job = a_job(lab, images, log)
    run = lab.start_job(job)
    while run.running and kills < 5:
        moment = a_moment(chance, run, log, starting=0.3)
        if (server := lab.lease_server()) is not None:
            server.kill()
            journal.say(f"kill {kills}: {moment}")
            kills += 1
    ended = run.wait().expect(0)
    assert len(executions(log)) == images, "losing the server loses no work"
    assert ended.answer["limits"]["gpu"]["maxHolders"] == 1
    assert lab.verify()["holds"]["overlaps"] == 0


def test_runs_with_real_photos_and_a_real_network_are_killed(lab: Lab, chance: random.Random, journal: Journal) -> None:
    photos = lab.folder / "photos"
    pictures.write_all(photos, {f"{number:03}.jpg": pictures.photo(number % 30) for number in range(1500)})
    steps = [{"name": "download", "download": {}}, INFER, {"name": "save", "save": {}}]
    spec = {"source": {"prefix": {"url": str(photos)}}, "parallelism": WORKERS, "chunkSize": 16}
    calm = lab.job(steps, name="calm", **spec)
    lab.run(calm).expect(0)
    job, output = lab.job(steps, **spec), lab.output()
    for number in range(3):
        run, there = lab.start_job(job), len(output.parts())
        wanted = there + chance.randrange(1, 20)
        eventually("chunks", lambda run=run, wanted=wanted: len(output.parts()) >= wanted or not run.running)
        if number % 2:
            for runner in run.runners()[:1]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    runner.kill()
            run.wait().expect(0)
        else:
            run.kill_group()
        journal.say(f"killed at {len(output.parts())} chunks")
    lab.run(job).expect(0)
    lab.verify()
    assert comparable(output.rows()) == comparable(lab.output("calm").rows())

"""What the supervisor adds up, also over processes that crash, stop and are started again."""

from collections import Counter

import pytest

from imagejob_api.imagejob import Phase
from imagejob_api.pipeline import Infer, Model, Step, StepLimit
from imagejob_runner.audit import Hold
from imagejob_runner.local.messages import Snapshot
from imagejob_runner.local.tally import Tally
from imagejob_runner.output import UNREAD
from imagejob_runner.pipeline.progress import Progress
from imagejob_runner.utilisation import Cause

OK, GONE, LEFT_OUT = ("ok", ""), ("failed", "NotFound"), ("skipped", "")


def snapshot(ended: Counter[tuple[str, str]], committed: Counter[tuple[str, str]] | None = None, already: int = 0) -> Snapshot:
    return Snapshot(Progress(ended=ended, committed=committed or Counter()), Counter({UNREAD: already}))


def test_images_are_added_up_over_processes_by_how_they_ended() -> None:
    tally = Tally({})
    tally.total = 20
    for shard, ended in enumerate([Counter({OK: 3, GONE: 2}), Counter({OK: 1, LEFT_OUT: 4})]):
        tally.started(f"{shard}/1")
        tally.add(f"{shard}/1", snapshot(ended, already=2))
    progress = tally.progress(Phase.RUNNING)
    assert (progress.succeeded, progress.failed, progress.skipped, progress.already, progress.done) == (4, 2, 4, 4, 14)
    assert progress.errors == {"NotFound": 2}
    assert progress.workers == 2


def test_what_a_process_has_not_committed_is_forgotten_when_it_ends() -> None:
    tally = Tally({})
    tally.started("0/1")
    tally.add("0/1", snapshot(Counter({OK: 9, GONE: 3}), committed=Counter({OK: 6, GONE: 2})))
    tally.ended("0/1")
    progress = tally.progress(Phase.RUNNING)
    assert (progress.succeeded, progress.failed, progress.workers) == (6, 2, 0)
    assert tally.errors == {"NotFound": 2}


def test_an_image_that_a_crashed_process_committed_is_not_counted_again_by_its_successor() -> None:
    tally = Tally({})
    tally.started("0/1")
    tally.add("0/1", snapshot(Counter({OK: 9}), committed=Counter({OK: 8}), already=16))
    tally.ended("0/1")
    tally.started("0/2")
    tally.add("0/2", snapshot(Counter({OK: 1}), already=24))
    progress = tally.progress(Phase.RUNNING)
    assert (progress.already, progress.succeeded, progress.done) == (16, 9, 25)


def test_a_successor_that_has_not_looked_at_the_output_yet_takes_nothing_away() -> None:
    tally = Tally({})
    tally.add("0/1", snapshot(Counter({OK: 8}), committed=Counter({OK: 8}), already=16))
    tally.ended("0/1")
    tally.add("0/2", snapshot(Counter(), already=0))
    assert tally.progress(Phase.RUNNING).done == 24


def test_rows_that_were_there_before_count_as_what_they_are() -> None:
    tally = Tally({})
    tally.found = Counter({"ok": 5, "failed": 2})
    tally.add("0/1", Snapshot(Progress(committed=Counter({OK: 6, GONE: 2})), Counter({"ok": 10, "failed": 4, UNREAD: 2})))
    tally.ended("0/1")
    assert tally.already == Counter({"ok": 15, "failed": 6, UNREAD: 2})
    # The next process finds what the crashed one has committed, and reads all of it.
    tally.add("0/2", Snapshot(Progress(), Counter({"ok": 17, "failed": 6, "skipped": 1})))
    assert tally.already == Counter({"ok": 16, "failed": 6, "skipped": 1})


def test_a_row_that_has_not_been_read_may_be_one_that_is_known() -> None:
    tally = Tally({})
    tally.add("0/1", Snapshot(Progress(committed=Counter({OK: 6, GONE: 2})), Counter()))
    tally.ended("0/1")
    tally.add("0/2", Snapshot(Progress(), Counter({"ok": 4, UNREAD: 8})))
    assert tally.already == Counter({UNREAD: 4}), "eight of the twelve are those of the process before"


def test_holds_are_counted_and_not_kept() -> None:
    tally = Tally({"gpu": 1})
    hold = Hold("node", "boot", "gpu", slot=0, fence=1, id="a-1", asked=0.0, start=1.0, end=3.0, busy=1.5, waited=True)
    for shard in range(2):
        tally.add(f"{shard}/1", Snapshot(Progress(), Counter(), [hold], {"gpu": 2}))
    assert tally.limits()["gpu"].holds == 2
    assert tally.limits()["gpu"].writes == 4
    assert not any(snapshot.holds for snapshot in tally._latest.values())


def working(first_start: float, seen: float, model: float, waited: float) -> Snapshot:
    step = Step(name="look", infer=Infer(model=Model(program="/a.pt2", sha256="0" * 64)), limits=[StepLimit(name="gpu")])
    progress = Progress(first_start=first_start, seen=seen, first_batch=first_start, last_batch=seen)
    progress.cpus, progress.cpu_seconds = 4, seen - first_start
    progress.describe(step, 1)
    progress.stage_seconds["look"], progress.stage_waits["look"] = model, waited
    return Snapshot(progress, Counter())


def test_processes_that_take_turns_keep_the_slot_and_the_device_busy_together() -> None:
    tally = Tally({"gpu": 1})
    tally.add("0/1", working(0.0, 100.0, model=50.0, waited=49.0))
    tally.add("1/1", working(0.0, 100.0, model=48.0, waited=50.0))
    use = tally.progress(Phase.RUNNING).utilisation
    assert use.bottleneck is not None
    assert use.bottleneck.cause is Cause.MODEL
    assert use.device == pytest.approx(0.98)
    assert use.cpus == pytest.approx(0.5), "the CPUs are the same ones"


def test_a_wait_that_is_not_over_counts_as_well() -> None:
    tally = Tally({"gpu": 1})
    snapshot = working(0.0, 100.0, model=5.0, waited=0.0)
    snapshot.progress.waiting_since["look"].append(10.0)
    tally.add("0/1", snapshot)
    use = tally.progress(Phase.RUNNING).utilisation
    assert use.bottleneck is not None
    assert use.bottleneck.cause is Cause.LIMIT
    assert use.stages["look"].waiting == pytest.approx(0.9)

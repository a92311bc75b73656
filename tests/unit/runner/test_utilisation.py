"""Which stage limits a job follows from how busy its stages are, whatever these are called and however many processes work."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagejob_runner.utilisation import LEAST_SECONDS, LEAST_UTILISATION, Cause, StageTimes, Times, bottleneck, utilisation

KINDS = ("download", "transform", "infer", "call", "save")

seconds = st.floats(0, 1e6)
stages = st.builds(
    StageTimes,
    st.sampled_from(KINDS),
    workers=st.integers(1, 64),
    capacity=seconds,
    seconds=seconds,
    waited=seconds,
    images=st.integers(0, 10**9),
    computing=seconds,
)
times = st.builds(
    Times,
    st.dictionaries(st.text(min_size=1, max_size=8), stages, max_size=6),
    wall=seconds,
    writing=seconds,
    cpu_capacity=seconds,
    cpu_seconds=seconds,
    cpus=st.integers(1, 64),
    device=st.sampled_from(["", "cpu", "cuda:0"]),
)


def job(*, device: str = "cuda:0", download: float = 0.2, decode: float = 0.3, model: float = 0.4, **more: float) -> Times:
    """A pipeline of three stages that has worked for 100 seconds, each stage for so much of its time."""
    shares = [("download", "download", 16, download), ("classify.decode", "transform", 4, decode), ("classify", "infer", 1, model)]
    work = {name: StageTimes(kind, n, n * 100.0, n * share * 100.0, images=100) for name, kind, n, share in shares}
    work["classify"] = StageTimes("infer", 1, 100.0, model * 100.0, more.get("waited", 0.0) * 100.0, 100, computing=90.0)
    return Times(work, 100.0, more.get("writing", 0.0) * 100.0, 400.0, 200.0, 4, device)


@given(times)
def test_every_share_lies_between_nothing_and_everything(found: Times) -> None:
    use = utilisation(found)
    shares = [share for stage in use.stages.values() for share in (stage.busy, stage.waiting)]
    assert all(0 <= share <= 1 for share in [*shares, use.device or 0.0, use.cpus or 0.0])
    if use.bottleneck is not None:
        assert LEAST_UTILISATION <= use.bottleneck.share <= 1
        assert use.bottleneck.step in {"", *found.stages}
        assert use.bottleneck.message


@given(times, st.floats(1.001, 1000))
def test_what_limits_a_job_does_not_depend_on_how_long_it_has_worked(found: Times, longer: float) -> None:
    def stretched(stage: StageTimes) -> StageTimes:
        return StageTimes(stage.kind, stage.workers, stage.capacity * longer, stage.seconds * longer, stage.waited * longer)

    later = Times({name: stretched(stage) for name, stage in found.stages.items()}, found.wall * longer, found.writing * longer)
    before, after = bottleneck(found), bottleneck(later)
    if before is not None and not math.isclose(before.share, LEAST_UTILISATION, rel_tol=1e-6):
        assert after is not None
        assert math.isclose(after.share, before.share, rel_tol=1e-6)


@given(times)
def test_two_equal_processes_are_as_busy_as_one(found: Times) -> None:
    both, one = utilisation(found + found), utilisation(found)
    assert both.stages.keys() == one.stages.keys()
    assert all(math.isclose(both.stages[name].busy, stage.busy, rel_tol=1e-9, abs_tol=1e-12) for name, stage in one.stages.items())
    assert math.isclose(both.cpus or 0.0, one.cpus or 0.0, rel_tol=1e-9, abs_tol=1e-12)


@given(times, times)
def test_what_was_done_between_two_moments_is_the_difference(before: Times, more: Times) -> None:
    between = (before + more).since(before)
    assert math.isclose(between.wall, more.wall, rel_tol=1e-6, abs_tol=1e-3)
    for name, stage in more.stages.items():
        assert math.isclose(between.stages[name].seconds, stage.seconds, rel_tol=1e-6, abs_tol=1e-3)
        assert between.stages[name].images == stage.images


@pytest.mark.parametrize(
    ("found", "cause", "says"),
    [
        (job(decode=0.97), Cause.DECODE, "decoding on 4 CPUs limits this job: give it more CPUs, or decode on the GPU (decode.device)"),
        (job(decode=0.97, device="cpu"), Cause.DECODE, "decoding on 4 CPUs limits this job: give it more CPUs"),
        (job(download=0.99), Cause.DOWNLOAD, "downloading limits this job (16 at once): raise concurrency of step download"),
        (job(model=0.99), Cause.MODEL, "and the GPU is busy"),
        (job(model=0.99, device="cpu"), Cause.MODEL, "on 4 CPUs limits this job: give it more CPUs or a GPU"),
        (job(model=0.5, waited=0.49), Cause.LIMIT, "others hold what step classify needs"),
        (job(writing=0.9), Cause.WRITE, "writing rows limits this job"),
        (job(model=1.0, decode=1.0), Cause.MODEL, "the model of step classify"),  # what comes before may be as busy: it waits for the last
    ],
)
def test_the_busiest_stage_is_named_with_what_would_help(found: Times, cause: Cause, says: str) -> None:
    named = bottleneck(found)
    assert named is not None
    assert named.cause is cause
    assert says in named.message


def test_nothing_is_named_while_everything_has_time_to_spare() -> None:
    assert bottleneck(job(download=0.2, decode=0.3, model=0.4)) is None


def test_a_job_that_has_hardly_begun_is_not_judged() -> None:
    young = Times({"look": StageTimes("infer", 1, LEAST_SECONDS / 2, LEAST_SECONDS / 2)}, LEAST_SECONDS / 2)
    assert bottleneck(young) is None


def test_processes_that_take_turns_on_one_slot_keep_it_busy() -> None:
    one = StageTimes("infer", 1, 100.0, 50.0, 49.0, computing=98.0)
    pair = Times({"look": one + one}, 200.0, slots={"look": 100.0}, device="cuda:0")
    named, use = bottleneck(pair), utilisation(pair)
    assert named is not None
    assert named.cause is Cause.MODEL
    assert use.stages["look"].busy == 1.0
    assert use.device == 1.0


def test_a_device_is_busy_by_the_time_between_its_first_and_its_last_batch() -> None:
    assert utilisation(job(model=0.45)).device == pytest.approx(0.5)
    assert utilisation(Times({"get": StageTimes("download", 16, 100.0, 50.0)}, 100.0)).device is None

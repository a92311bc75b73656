from dataclasses import replace

from imagejob_api.imagejob import Phase
from imagejob_cli.summary import summary
from imagejob_runner.audit import LimitFigures
from imagejob_runner.constants import ExitCode
from imagejob_runner.local.figures import RunProgress, RunResult
from imagejob_runner.startup import StartUp
from imagejob_runner.utilisation import Bottleneck, Cause, StageUse, Utilisation

GPU = LimitFigures(
    max_holders=2,
    holds=14,
    held_seconds=30.0,
    busy_seconds=27.0,
    wait_seconds=102.0,
    hand_over_ms=(2.8, 6.4),
    hand_over_seconds=0.0092,
    writes=24,
)
RESULT = RunResult(
    phase=Phase.SUCCEEDED,
    exit_code=ExitCode.PARTIAL,
    message="3 of 1000 images failed, which failurePolicy allows; errors.jsonl lists them.",
    total=1000,
    succeeded=996,
    failed=3,
    skipped=1,
    elapsed_seconds=8.0,
    wall_seconds=9.5,
    done=1000,
    output="results/my flowers",
    limits={"gpu": GPU},
    errors={"NotFound": 3},
    startup=StartUp(begun=0.0, importing=2.6, planning=0.04, loading=0.5, first_image=3.1),
    end_seconds=0.06,
    utilisation=Utilisation(
        stages={"classify": StageUse(busy=0.4, waiting=0.0, images=1000, seconds=8.0, workers=1)},
        device=0.41,
        bottleneck=Bottleneck(Cause.DECODE, "classify.decode", 0.97, "decoding on 2 CPUs limits this job: give it more CPUs"),
    ),
)
LAST = RunProgress(phase=Phase.RUNNING, stages={"download": (1000, 12.0), "save": (0, 0.0)})


def test_all_of_it() -> None:
    assert list(summary("flowers", RESULT, LAST)) == [
        "flowers: succeeded",
        "  3 of 1000 images failed, which failurePolicy allows; errors.jsonl lists them.",
        "  images      996 succeeded, 3 failed, 1 skipped of 1,000",
        "  time        1,000 images in 8.0 s, 125 images/s; 9.5 s with start and end",
        ("  start       3.1 s until the first image (importing 2.6 s, planning 40 ms, loading 500 ms, side by side); the end took 60 ms"),
        "  failed      3: NotFound 3",
        (
            "  slots       gpu: 14 holds, at most 2 at once, held 30.0 s, 90% at work, waited 1:42, "
            "hand-over p50 2.8 ms, p99 6.4 ms, 24 Lease writes"
        ),
        "  per image   download 12 ms",
        "  busy        device 41%; classify 40%",
        "  bottleneck  decoding on 2 CPUs limits this job: give it more CPUs",
        "  results     results/my flowers",
        "  next        imagejob show 'results/my flowers'",
        "              imagejob verify 'results/my flowers'",
    ]


def test_nothing_left_to_do() -> None:
    again = replace(RESULT, exit_code=ExitCode.SUCCEEDED, message="", done=0, elapsed_seconds=0.0, wall_seconds=0.4, limits={}, errors={})
    assert list(summary("flowers", again, None))[:3] == [
        "flowers: succeeded",
        "  images      996 succeeded, 3 failed, 1 skipped of 1,000",
        "  time        400 ms; nothing was left to do",
    ]


def test_interrupted_before_the_first_commit() -> None:
    stopped = replace(
        RESULT,
        phase=Phase.SUSPENDED,
        exit_code=ExitCode.INTERRUPTED,
        message="Interrupted.",
        succeeded=0,
        failed=0,
        skipped=0,
        elapsed_seconds=0.0,
    )
    lines = list(summary("flowers", stopped, None))
    assert lines[0] == "flowers: suspended"
    assert "  images      0 succeeded, 0 failed, 1,000 not done of 1,000" in lines
    assert "  time        9.5 s" in lines
    assert not any(line.startswith("  next") for line in lines)


def test_messages_cannot_move_the_cursor() -> None:
    lines = list(summary("flowers", replace(RESULT, message="one\ntwo \x1b[2J"), None))
    assert lines[1:3] == ["  one", "  two \\x1b[2J"]

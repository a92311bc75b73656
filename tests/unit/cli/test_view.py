import io

import pytest
from rich.console import Console

from imagejob_api.imagejob import Phase
from imagejob_cli.view import RunView, details
from imagejob_runner.local.figures import LimitUse, RunProgress
from imagejob_runner.utilisation import Bottleneck, Cause, StageUse, Utilisation

RUNNING = RunProgress(
    phase=Phase.RUNNING,
    total=10_000,
    already=128,
    succeeded=800,
    failed=3,
    skipped=1,
    elapsed_seconds=75,
    images_per_second=124.3,
    eta_seconds=73,
    limits={"gpu": LimitUse(slots=2, held=2, waiting=8), "licence": LimitUse(slots=1, held=0, waiting=0)},
    stages={"download": (800, 9.6), "classify": (800, 6.4), "save": (0, 0.0)},
    errors={"NotFound": 1, "TruncatedImage": 2},
    workers=4,
    restarts=1,
    utilisation=Utilisation(
        stages={
            "download": StageUse(busy=0.031, waiting=0.0, images=800, seconds=9.6, workers=16),
            "classify": StageUse(busy=0.93, waiting=0.02, images=800, seconds=6.4, workers=1),
            "save": StageUse(busy=0.0, waiting=0.0, images=800, seconds=0.0, workers=1),
        },
        device=0.951,
        cpus=0.7,
        bottleneck=Bottleneck(Cause.MODEL, "classify", 0.95, "the model of step classify limits this job"),
    ),
)


def rendered(progress: RunProgress, width: int, name: str = "flowers") -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(RunView(name, progress))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_details_say_everything() -> None:
    assert details(RUNNING) == [
        ("state", "9%, 124 images/s, 1:15 elapsed, 1:13 left, 128 there before, 1 skipped, 4 processes, 1 restart after a crash"),
        ("failed", "3: TruncatedImage 2, NotFound 1"),
        ("slots", "gpu 2/2 held, 8 waiting; licence 0/1 held, 0 waiting"),
        ("per image", "download 12 ms, classify 8.0 ms"),
        ("busy", "device 95%, CPUs 70%; download 3%, classify 93%"),
        ("bottleneck", "the model of step classify limits this job"),
    ]


def test_planning_has_no_figures_yet() -> None:
    progress = RunProgress(phase=Phase.PLANNING, elapsed_seconds=3, limits={"gpu": LimitUse(1, 0, 0)})
    assert details(progress) == [("state", "planning, 0:03")]
    assert rendered(progress, 80)[0].endswith("0/0")


def test_the_rate_is_not_told_before_the_first_image() -> None:
    progress = RunProgress(phase=Phase.RUNNING, total=10, elapsed_seconds=2, workers=1)
    assert details(progress) == [("state", "0%, starting, 0:02 elapsed, 1 process")]


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(map(len, rendered(RUNNING, width))) <= width


def test_80_columns() -> None:
    lines = rendered(RUNNING, 80)
    assert lines[0].startswith("flowers ━")
    assert lines[0].endswith(" 932/10,000")
    assert lines[1:] == [
        "state       9%, 124 images/s, 1:15 elapsed, 1:13 left, 128 there before, 1",
        "            skipped, 4 processes, 1 restart after a crash",
        "failed      3: TruncatedImage 2, NotFound 1",
        "slots       gpu 2/2 held, 8 waiting; licence 0/1 held, 0 waiting",
        "per image   download 12 ms, classify 8.0 ms",
        "busy        device 95%, CPUs 70%; download 3%, classify 93%",
        "bottleneck  the model of step classify limits this job",
    ]


def test_a_narrow_terminal_gives_the_name_a_line_of_its_own() -> None:
    lines = rendered(RUNNING, 40, name="a-name-that-is-far-longer-than-forty-columns")
    assert lines[0] == "a-name-that-is-far-longer-than-forty-co…"
    assert lines[1].endswith("932/10,000")
    assert "━" in lines[1]


def test_a_long_name_leaves_room_for_the_bar() -> None:
    line = rendered(RUNNING, 80, name="a-name-that-is-far-longer-than-forty-columns")[0]
    assert line.startswith("a-name-that-is-far-longer… ━")


def test_everything_done() -> None:
    lines = rendered(RunProgress(phase=Phase.RUNNING, total=4, succeeded=4, eta_seconds=0.0, images_per_second=2), 80)
    assert lines[0].endswith("━ 4/4")
    assert "left" not in lines[1]

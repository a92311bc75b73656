import io
from dataclasses import replace

from rich.console import Console

from imagejob_api.imagejob import Phase
from imagejob_cli.display import LINE_SECONDS, LiveDisplay, PlainDisplay, display_for
from imagejob_runner.local.figures import LimitUse, RunProgress

START = RunProgress(phase=Phase.RUNNING, total=10, workers=1)


class Log:
    """A console that is no terminal, and a clock that stands until it is moved."""

    def __init__(self) -> None:
        self.file = io.StringIO()
        self.now = 100.0
        self.display = PlainDisplay(Console(file=self.file, width=80, markup=False), "flowers", clock=lambda: self.now)

    def lines(self) -> list[str]:
        return self.file.getvalue().splitlines()


def test_lines_come_now_and_then_and_with_news_only() -> None:
    log = Log()
    log.display.update(START)
    log.display.update(replace(START, succeeded=1))
    assert len(log.lines()) == 1
    log.now += LINE_SECONDS
    log.display.update(replace(START, succeeded=2, images_per_second=2.0))
    log.now += LINE_SECONDS
    log.display.update(replace(START, succeeded=2, images_per_second=1.9))
    assert log.lines() == [
        "flowers: 0/10, 0%, starting, 0:00 elapsed, 1 process",
        "flowers: 2/10, 20%, 2.0 images/s, 0:00 elapsed, 1 process",
    ]


def test_a_new_phase_and_a_restart_are_told_at_once() -> None:
    log = Log()
    log.display.update(RunProgress(phase=Phase.PLANNING))
    log.display.update(START)
    log.display.update(replace(START, restarts=1))
    assert log.lines() == [
        "flowers: planning, 0:00",
        "flowers: 0/10, 0%, starting, 0:00 elapsed, 1 process",
        "flowers: 0/10, 0%, starting, 0:00 elapsed, 1 process, 1 restart after a crash",
    ]


def test_a_line_is_never_wrapped() -> None:
    log = Log()
    many = {f"limit-{number}": LimitUse(1, 1, 0) for number in range(20)}
    log.display.update(replace(START, limits=many, errors={"NotFound": 2}))
    (line,) = log.lines()
    assert "; failed 2: NotFound 2; limit-0 1/1 held, 0 waiting; limit-1 " in line


def test_notes_are_printed_with_the_next_moment_or_at_the_end() -> None:
    log = Log()
    with log.display:
        log.display.update(START)
        log.display.note("first")
        assert len(log.lines()) == 1
        log.display.update(START)
        assert log.lines()[1:] == ["first"]
        log.display.note("last")
    assert log.lines()[1:] == ["first", "last"]


def test_the_live_display_draws_and_clears() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    display = LiveDisplay(console, "flowers")
    with display:
        display.update(replace(START, succeeded=5))
        display.note("something")
        display.update(replace(START, succeeded=6))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "5/10" in text
    assert text.index("5/10") < text.index("something") < text.index("6/10")
    assert text.endswith("\x1b[1A\x1b[2K")  # the last thing it does is to wipe its lines
    assert display.latest is not None
    assert display.latest.succeeded == 6


def test_only_a_real_terminal_is_drawn_on() -> None:
    assert isinstance(display_for(Console(file=io.StringIO(), force_terminal=True), "x"), LiveDisplay)
    assert isinstance(display_for(Console(file=io.StringIO()), "x"), PlainDisplay)
    dumb = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    assert isinstance(display_for(dumb, "x"), PlainDisplay)

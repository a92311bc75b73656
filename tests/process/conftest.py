"""Fixtures of the whole-run tests."""

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.harness import Lab

_FIGURE = "figure"


class Journal:
    """What a test tells besides its verdict: pytest shows what was said when the test fails, and figures at the end of every session."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._item: pytest.Item = request.node

    def say(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")

    def figure(self, text: str) -> None:
        self.say(text)
        # With the test's report it also comes from a process that pytest-xdist runs tests in.
        self._item.user_properties.append((_FIGURE, f"{self._item.name}: {text}"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder starts whole runs."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.process)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what was measured."""
    ended = [report for reports in terminalreporter.stats.values() for report in reports]
    calls = [report for report in ended if isinstance(report, pytest.TestReport) and report.when == "call"]
    if figures := [text for report in calls for name, text in report.user_properties if name == _FIGURE]:
        terminalreporter.section("figures of whole runs")
        for line in figures:
            terminalreporter.line(str(line))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A folder and a Lease store of this test's own. The path of a socket must be short, and pytest's are long."""
    runtime = Path(tempfile.mkdtemp(prefix="imagejob-"))
    lab = Lab(tmp_path, runtime)
    yield lab
    lab.close()
    shutil.rmtree(runtime, ignore_errors=True)


@pytest.fixture
def journal(request: pytest.FixtureRequest) -> Journal:
    """Where the test writes what it does and measures."""
    return Journal(request)


@pytest.fixture
def chance(journal: Journal) -> random.Random:
    """Random moments: new ones for each run, unless $IMAGEJOB_TEST_SEED repeats those of an earlier one."""
    seed = int(os.environ.get("IMAGEJOB_TEST_SEED") or random.SystemRandom().randrange(10**9))
    journal.say(f"IMAGEJOB_TEST_SEED={seed}")
    return random.Random(seed)  # noqa: S311  nothing is hidden by it

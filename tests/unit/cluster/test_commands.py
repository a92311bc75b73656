"""Other programs: what a person reads when one fails or is missing."""

import shutil
from pathlib import Path

import pytest

from tests.cluster.commands import provide, run
from tests.cluster.exceptions import CommandError, UnavailableError


def test_what_a_command_prints_is_returned() -> None:
    assert run(["cat"], stdin=b"hello") == "hello"
    assert run(["sh", "-c", "echo $GREETING"], env={"GREETING": "hello"}) == "hello\n"


def test_a_failed_command_is_told_with_all_that_it_said() -> None:
    with pytest.raises(CommandError, match=r"(?s)`sh -c 'echo out; echo err >&2; exit 3'` ended with 3:.*out.*err"):
        run(["sh", "-c", "echo out; echo err >&2; exit 3"])


def test_a_command_that_hangs_is_told_with_its_limit() -> None:
    with pytest.raises(CommandError, match=r"`sleep 60` took longer than 0.1 s"):
        run(["sleep", "60"], timeout=0.1)


def test_a_missing_program_is_named() -> None:
    with pytest.raises(CommandError, match="there is no program `no-such-program`"):
        run(["no-such-program"])


def test_programs_that_are_there_need_no_package() -> None:
    provide({"sh": "no-such-package"}, why="this test")


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no program at all, and so no apt-get
    assert shutil.which("apt-get") is None
    with pytest.raises(
        UnavailableError,
        match=r"a Docker engine needs docker\.io, jq; install what is missing, as with: sudo apt-get install .*docker\.io jq",
    ):
        provide({"jq": "jq", "dockerd": "docker.io"}, why="a Docker engine")

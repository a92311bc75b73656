"""A cluster that the tool did not make: it is refused, and nothing is done to it.

Docker and kind are stand-ins that only answer what they are asked, so that nothing real is near, and write down what that was.
"""

from pathlib import Path

import pytest

from tests.cluster import engine, lifecycle
from tests.cluster.exceptions import ClusterError
from tests.cluster.tools import KIND

NAME = "somebodys"

DOCKER = f"""
case "$1" in
version) echo 27.0.0 ;;
ps) echo {NAME}-control-plane ;;
network) echo bridge; echo {NAME} ;;
esac
"""


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What was asked of Docker and kind, where a cluster runs that somebody has made with kind."""
    file = tmp_path / "commands"
    file.touch()
    for program, answers in {tmp_path / "bin" / "docker": DOCKER, tmp_path / f"kind-{KIND.version}" / "kind": f"echo {NAME}"}.items():
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\necho "{program.name} $*" >> {file}\n{answers}')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))  # nor is there an `ip` that could touch routes
    monkeypatch.setenv("IMAGEJOB_TOOLS_CACHE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(engine, "_PID_FILE", tmp_path / "no-engine-of-our-own")
    return file


def harmful(commands: Path) -> list[str]:
    """The commands that do more than ask."""
    questions = ("docker version ", "docker ps ", "docker network ls ", "kind get clusters")
    return [command for command in commands.read_text().splitlines() if not command.startswith(questions)]


def test_up_refuses_a_cluster_that_somebody_else_made(commands: Path) -> None:
    with pytest.raises(
        ClusterError, match=f"a kind cluster {NAME} that this tool did not make: choose another name, or delete it with kind"
    ):
        lifecycle.up(NAME)
    assert "kind get clusters" in commands.read_text()
    assert harmful(commands) == []


def test_down_leaves_a_cluster_that_somebody_else_made(commands: Path) -> None:
    lifecycle.down(NAME)
    assert harmful(commands) == []


@pytest.mark.usefixtures("commands")
def test_a_cluster_that_somebody_else_made_is_not_found() -> None:
    assert lifecycle.find(NAME) is None


@pytest.mark.usefixtures("commands")
def test_what_remains_of_a_cluster_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "clusters" / NAME
    folder.mkdir(parents=True)
    usual = tmp_path / ".kube" / "config"
    usual.parent.mkdir()
    usual.write_text(f"current-context: kind-{NAME}\n")
    assert lifecycle.remains(NAME) == [
        f"folder {folder}",
        f"container {NAME}-control-plane",
        f"network {NAME}",
        f"kind-{NAME} in {usual}",
    ]

"""The cache: each entry made once, whole or not at all."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.cache import cache_root, cached

CHECKOUT = Path(__file__).parents[3]

MAKE_ONE = """
import sys
from pathlib import Path
from tests.cluster.cache import cached

def build(folder):
    with open(sys.argv[1], "a") as log:
        log.write("built\\n")
    (folder / "tool").write_text("")
    (folder / "tool").chmod(0o755)

print(cached("tool-1", "tool", build))
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMAGEJOB_TOOLS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def program(folder: Path) -> None:
    (folder / "tool").write_text("")
    (folder / "tool").chmod(0o755)


def test_an_entry_is_made_once(cache: Path) -> None:
    builds = []

    def build(folder: Path) -> None:
        builds.append(folder)
        program(folder)

    assert cached("tool-1", "tool", build) == cached("tool-1", "tool", build) == cache / "tool-1"
    assert len(builds) == 1
    assert cached("tool-2", "tool", build) == cache / "tool-2"
    assert len(builds) == 2


def test_processes_at_the_same_time_make_it_once(tmp_path: Path, cache: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", MAKE_ONE, str(log)]
    running = [subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert {process.communicate()[0].strip() for process in running} == {str(cache / "tool-1")}
    assert log.read_text() == "built\n"


def test_a_failed_build_leaves_nothing(cache: Path) -> None:
    def build(folder: Path) -> None:
        program(folder)
        raise RuntimeError("the network is gone")

    with pytest.raises(RuntimeError, match="the network is gone"):
        cached("tool-1", "tool", build)
    assert [path.name for path in cache.iterdir()] == [".tool-1.lock"]


STAND_STILL = """
import sys
from pathlib import Path
from tests.cluster.cache import cached

def build(folder):
    (folder / "tool").write_text("half")
    print("began", flush=True)
    sys.stdin.read()

cached("tool-1", "tool", build)
"""


def test_a_killed_builder_is_followed_by_who_waits(tmp_path: Path, cache: Path) -> None:
    """What it leaves does not count, and does not stay."""
    with subprocess.Popen([sys.executable, "-c", STAND_STILL], cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"began\n"
        command = [sys.executable, "-c", f"import logging\nlogging.basicConfig(level='INFO')\n{MAKE_ONE}", str(tmp_path / "log")]
        with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as heir:
            assert heir.stderr is not None
            said = f"waiting for another run to make tool-1; one in the background writes to {cache / 'background.log'}\n"
            assert heir.stderr.readline().endswith(said)
            victim.kill()
            assert heir.communicate()[0].strip() == str(cache / "tool-1")
    assert (cache / "tool-1" / "tool").read_text() == ""
    assert {path.name for path in cache.iterdir()} == {".tool-1.lock", "tool-1"}


def test_half_an_entry_is_made_anew(cache: Path) -> None:
    (cache / "tool-1").mkdir(parents=True)
    (cache / "tool-1" / "tool").write_text("not executable")
    assert (cached("tool-1", "tool", program) / "tool").read_text() == ""


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("IMAGEJOB_TOOLS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "imagejob" / "tools"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "imagejob" / "tools"

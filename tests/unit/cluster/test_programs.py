"""Building in the background: out of the way of everything else, and ended with what it was started for."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.tools import HELM

CHECKOUT = Path(__file__).parents[3]

# It takes for ever over what it is to build, and says so.
GO = """#!/bin/sh
if [ "$1" = env ]; then echo go1.99; echo local; exit; fi
echo half > "$GOBIN/helm"
echo $$ > "$BEGAN"
exec /bin/sleep 600
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is nothing to build in the background")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, with that Go."""
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text(GO)
    go.chmod(0o755)
    os.mkfifo(tmp_path / "began")
    for name, value in {"PATH": go.parent, "BEGAN": tmp_path / "began", "IMAGEJOB_TOOLS_CACHE": tmp_path / "cache"}.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path / "cache"


@pytest.fixture
def maker() -> Iterator["subprocess.Popen[bytes]"]:
    """Stands for make."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_it_works_in_idle_time_and_ends_with_make(cache: Path, maker: "subprocess.Popen[bytes]") -> None:
    command = [sys.executable, "-m", "tests.tools.programs", str(maker.pid)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as building:
        go = int((cache.parent / "began").read_text())
        assert os.getpriority(os.PRIO_PROCESS, go) == 19
        assert os.sched_getscheduler(go) == os.SCHED_IDLE
        assert os.getpgid(go) == building.pid
        maker.kill()
        said, _ = building.communicate(timeout=60)
    assert building.returncode == 0
    assert said == f"What the tests need besides Python is built in the background; {cache / 'background.log'} tells of it.\n"
    log = (cache / "background.log").read_text().splitlines()
    assert (log[0], log[-1]) == (f"building helm {HELM.version}", f"ended with process {maker.pid}")
    assert {path.name for path in cache.iterdir()} == {"background.log", f".helm-{HELM.version}.lock"}
    with pytest.raises(ProcessLookupError):
        os.kill(go, 0)


def test_what_stays_is_started_at_the_usual_priority() -> None:
    look = "print(os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0))"
    code = f"import os; from tests.tools import programs as p; p._step_back()\nwith p._at_usual_priority(): {look}\n{look}"
    said = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.splitlines()
    lowest = f"19 {os.SCHED_IDLE}"
    assert said == [f"0 {os.SCHED_OTHER}" if os.geteuid() == 0 else lowest, lowest]

"""Nothing stays of a process that was killed: no child, no folder, no port."""

import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.control_plane import _held_port
from tests.cluster.folders import claimed_folder
from tests.cluster.processes import start

CHECKOUT = Path(__file__).parents[3]
GONE_SECONDS = 10

START_AND_CRASH = """
import os, signal, sys, threading
from pathlib import Path
from tests.cluster.folders import claimed_folder
from tests.cluster.processes import start

def start_one():
    child = start("sleeper", ["sleep", "600"], folder=Path("/"), log=Path(sys.argv[1]))
    print(child.process.pid, flush=True)

with claimed_folder(sys.argv[2]) as claim:
    print(claim.path, flush=True)
    start_one()
    thread = threading.Thread(target=start_one)
    thread.start()
    thread.join()
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def prefix() -> Iterator[str]:
    prefix = f"imagejob-test-{os.getpid()}-"
    yield prefix
    (Path(tempfile.gettempdir()) / f"{prefix}{os.getuid()}.lock").unlink(missing_ok=True)


def test_a_killed_process_leaves_nothing(tmp_path: Path, prefix: str) -> None:
    command = [sys.executable, "-c", START_AND_CRASH, str(tmp_path / "log"), prefix]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as crashing:
        assert crashing.stdin is not None
        assert crashing.stdout is not None
        folder, first, of_an_ended_thread = (crashing.stdout.readline().strip() for _ in range(3))
        handles = [os.pidfd_open(int(first)), os.pidfd_open(int(of_an_ended_thread))]
        assert not select.select(handles, [], [], 0)[0], "both live as long as it does"
        with claimed_folder(prefix):
            assert Path(folder).exists(), "it is in use"
        crashing.stdin.write("\n")
    for handle in handles:
        assert select.select([handle], [], [], GONE_SECONDS)[0]
        os.close(handle)
    with claimed_folder(prefix) as claim:
        assert not Path(folder).exists()
    assert not claim.path.exists()


def test_a_kept_entry_stays(prefix: str) -> None:
    with claimed_folder(prefix) as claim:
        (claim.path / "logs").mkdir()
        (claim.path / "data").mkdir()
        claim.keep("logs")
    with claimed_folder(prefix):
        assert [path.name for path in claim.path.iterdir()] == ["logs"]
    (claim.path / "logs").rmdir()
    claim.path.rmdir()


def test_the_end_of_a_log(tmp_path: Path) -> None:
    child = start("counter", ["seq", "100"], folder=tmp_path, log=tmp_path / "log")
    assert child.has_ended(within=10)
    assert child.end_of_log(lines=3) == "98\n99\n100"
    child.kill()


def test_a_held_port_is_nobody_elses() -> None:
    with _held_port() as port, socket.socket() as other, _held_port() as another:
        assert port != another
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            pass


def test_who_shares_a_held_port_gets_every_connection() -> None:
    with _held_port() as port, socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        server.settimeout(GONE_SECONDS)
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", port)):
                server.accept()[0].close()

"""`imagejob lease` on a real local store, and `lease exec` as a real process."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from nodelease import Bounds, LeaseClient, StoreUnavailableError
from tests.unit.cli.builders import Imagejob

PATIENCE_SECONDS = 30.0

Exec = Callable[..., "subprocess.Popen[str]"]


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.005)


@pytest.fixture
def execute(runtime: Path) -> Iterator[Exec]:  # noqa: ARG001  sets the store
    """Starts `imagejob lease exec` with these arguments."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **options: object) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "imagejob_cli", "lease", "exec", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, out, err


def words(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if "─" not in line]


class TestDefineAndStatus:
    def test_define_makes_and_changes(self, imagejob: Imagejob, client: LeaseClient) -> None:
        result = imagejob("lease", "define", "gpu", "--slots", "2", "--duration", "10s")
        assert result.exit_code == 0
        assert words(result.stdout)[1] == "gpu 2 0 0"
        state = client.status("gpu")
        assert (state.slots, state.duration_seconds, state.active) == (2, 10, True)
        assert words(imagejob("lease", "define", "gpu", "--slots", "3", "--inactive").stdout)[1] == "gpu 3 (inactive) 0 0"
        assert client.status("gpu").active is False
        imagejob("lease", "define", "gpu", "--slots", "3", "--max-hold", "90s", "--max-priority", "10")
        assert client.status("gpu").bounds == Bounds(max_hold_seconds=90.0, max_priority=10)
        imagejob("lease", "define", "gpu", "--slots", "3")
        assert client.status("gpu").bounds == Bounds()

    def test_a_name_that_cannot_be_one(self, imagejob: Imagejob, runtime: Path) -> None:  # noqa: ARG002  sets the store
        result = imagejob("lease", "define", "GPU", "--slots", "1")
        assert result.exit_code == 2
        assert "'GPU' is not the name of a limit" in result.stderr

    def test_status_of_nothing(self, imagejob: Imagejob, runtime: Path) -> None:  # noqa: ARG002  sets the store
        result = imagejob("lease", "status")
        assert result.exit_code == 0
        assert result.stdout.startswith("No limits on this machine.")
        assert json.loads(imagejob("lease", "status", "--json").stdout) == {"limits": []}

    def test_status_of_nothing_in_a_pod(self, imagejob: Imagejob, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG002  sets the store
        monkeypatch.setattr(LeaseClient, "kubernetes", lambda: LeaseClient.local("team/pod"))
        said = imagejob("lease", "status", env={"IMAGEJOB_LEASE_NAMESPACE": "imagejob-system", "IMAGEJOB_NODE_NAME": "worker-1"}).stdout
        assert said == "No limits on this pod's node. A NodeLimit object makes one; `kubectl get nodelimits` lists them.\n"

    @pytest.mark.parametrize("duration", ["500ms", "1500ms", "0s"])
    def test_a_duration_that_is_no_whole_second(self, imagejob: Imagejob, client: LeaseClient, duration: str) -> None:
        result = imagejob("lease", "define", "gpu", "--slots", "1", "--duration", duration)
        assert result.exit_code == 2
        assert f"must be whole seconds, and at least one, such as 10s, not '{duration}'" in result.stderr
        assert client.limits() == []

    def test_status_of_a_limit_that_is_not_there(self, imagejob: Imagejob, runtime: Path) -> None:  # noqa: ARG002  sets the store
        result = imagejob("lease", "status", "gpu")
        assert result.exit_code == 2
        assert "gpu" in result.stderr

    def test_status_names_holders_and_queue(self, imagejob: Imagejob, client: LeaseClient, execute: Exec) -> None:
        client.define("gpu", slots=1)
        client.define("licence", slots=4)
        holding = client.acquire_blocking("gpu")
        waiting = execute("gpu", "--priority", "7", "--", "true")
        eventually(lambda: client.status("gpu").queue, "a waiter in the queue")
        lines = words(imagejob("lease", "status").stdout)
        assert lines == [
            "LIMIT SLOTS HELD WAITING HOLDERS QUEUE, NEXT FIRST",
            f"gpu 1 1 1 somebody (slot 0) exec/true-{waiting.pid} (priority 7)",
            "licence 4 0 0",
        ]
        (gpu,) = json.loads(imagejob("lease", "status", "gpu", "--json").stdout)["limits"]
        assert gpu["holders"] == [{"id": holding.id, "pod": "somebody", "fence": holding.fence, "slots": [0]}]
        assert gpu["queue"][0]["priority"] == 7
        assert (gpu["name"], gpu["slots"], gpu["held"], gpu["waiting"], gpu["grants"]) == ("gpu", 1, 1, 1, 1)
        holding.release_blocking()
        assert ended(waiting)[0] == 0

    def test_status_watches(self, client: LeaseClient, runtime: Path) -> None:  # noqa: ARG002  sets the store
        client.define("gpu", slots=1)
        command = [sys.executable, "-m", "imagejob_cli", "lease", "status", "--json", "--watch"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["limits"][0]["held"] == 0
            client.acquire_blocking("gpu")
            eventually(lambda: json.loads(process.stdout.readline())["limits"][0]["held"] == 1, "the holder is shown")  # type: ignore[union-attr]
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=PATIENCE_SECONDS) == 130


class TestExec:
    def test_the_command_runs_under_the_slot(self, client: LeaseClient, execute: Exec) -> None:
        client.define("gpu", slots=2)
        fence = client.status("gpu").transitions + 1
        code, out, err = ended(
            execute("gpu", "--slots", "2", "--", "sh", "-c", "echo $IMAGEJOB_LIMIT $IMAGEJOB_SLOTS $IMAGEJOB_FENCE; exit 7")
        )
        assert (code, out, err) == (7, f"gpu 0,1 {fence}\n", "")
        assert client.status("gpu").held == 0

    def test_the_store_is_not_asked_again_once_the_slot_is_held(
        self, imagejob: Imagejob, client: LeaseClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever waited for hours does not lose the turn to a store that cannot be reached just then."""
        client.define("gpu", slots=1)

        def away(*_: object) -> NoReturn:
            raise StoreUnavailableError("nobody answers")

        for question in ("status", "limits"):
            monkeypatch.setattr(LeaseClient, question, away)
        assert imagejob("lease", "exec", "gpu", "--", "sh", "-c", "exit 7").exit_code == 7

    def test_it_waits_and_says_so(self, client: LeaseClient, execute: Exec) -> None:
        client.define("gpu", slots=1)
        holding = client.acquire_blocking("gpu")
        process = execute("gpu", "--", "echo", "done")
        assert process.stderr is not None
        assert process.stderr.readline() == "imagejob: waiting: limit 'gpu' is in use; place 1 of 1 in its queue\n"
        holding.release_blocking()
        code, out, err = ended(process)
        assert (code, out) == (0, "done\n")
        assert err.startswith("imagejob: has gpu after ")

    def test_a_limit_that_is_not_there_is_waited_for(self, client: LeaseClient, execute: Exec) -> None:
        process = execute("gpu", "--", "true")
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("imagejob: waiting: ")
        assert "imagejob lease define gpu --slots N" in line
        client.define("gpu", slots=1)
        assert ended(process)[0] == 0

    @pytest.mark.parametrize("defined", [True, False])
    def test_no_slot_in_time(self, client: LeaseClient, execute: Exec, *, defined: bool) -> None:
        if defined:
            client.define("gpu", slots=0)
        code, out, err = ended(execute("gpu", "--timeout", "50ms", "--", "echo", "never"))
        assert (code, out) == (124, "")
        assert err.startswith("imagejob: no slot of limit 'gpu' within 0.05 s: ")
        assert not defined or client.status("gpu").queue == ()

    def test_a_command_that_is_not_there(self, execute: Exec) -> None:
        assert ended(execute("gpu", "--", "no-such-command")) == (127, "", "imagejob: no-such-command: no such command\n")

    def test_a_file_that_cannot_be_executed(self, execute: Exec, tmp_path: Path) -> None:
        (tmp_path / "script").write_text("#!/bin/sh\n")
        assert ended(execute("gpu", "--", "./script", cwd=tmp_path)) == (126, "", "imagejob: ./script: cannot be executed\n")

    def test_a_path_that_cannot_be_looked_at(self, execute: Exec) -> None:
        path = "/" + 300 * "x"
        assert ended(execute("gpu", "--", path)) == (126, "", f"imagejob: {path}: File name too long\n")

    def test_a_script_without_its_interpreter(self, client: LeaseClient, execute: Exec, tmp_path: Path) -> None:
        client.define("gpu", slots=1)
        script = tmp_path / "script"
        script.write_text("#!/no/such/interpreter\n")
        script.chmod(0o700)
        assert ended(execute("gpu", "--", str(script))) == (127, "", f"imagejob: {script}: No such file or directory\n")

    def test_a_command_that_kills_itself(self, client: LeaseClient, execute: Exec) -> None:
        client.define("gpu", slots=1)
        assert ended(execute("gpu", "--", "sh", "-c", "kill -KILL $$"))[0] == 137

    def test_a_signal_while_it_waits_leaves_the_queue(self, client: LeaseClient, execute: Exec) -> None:
        client.define("gpu", slots=1)
        client.acquire_blocking("gpu")
        process = execute("gpu", "--", "true")
        eventually(lambda: client.status("gpu").queue, "a waiter in the queue")
        process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == 128 + signal.SIGTERM
        assert client.status("gpu").queue == ()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
    def test_signals_are_passed_on(self, client: LeaseClient, execute: Exec, number: signal.Signals) -> None:
        client.define("gpu", slots=1)
        name = number.name.removeprefix("SIG")
        # `wait` for a background child returns when a trapped signal comes; the sleep is told to go, or it would keep our pipe open.
        script = f"trap 'echo got {name}; kill $child; exit 9' {name}; sleep 60 & child=$!; echo ready; wait"
        process = execute("gpu", "--", "sh", "-c", script, start_new_session=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        code, out, _ = ended(process)
        assert (code, out) == (9, f"got {name}\n")
        assert client.status("gpu").held == 0

    def test_ctrl_c_reaches_the_command_once(self, client: LeaseClient, runtime: Path) -> None:  # noqa: ARG002  sets the store
        client.define("gpu", slots=1)
        # A second SIGINT within the half second would end it with 2.
        script = "import signal, time\ntry:\n  print('ready', flush=True); time.sleep(60)\nexcept KeyboardInterrupt:\n  "
        script += "try:\n    time.sleep(0.5); print('once', flush=True)\n  except KeyboardInterrupt:\n    print('twice', flush=True)"
        child, terminal = pty.fork()
        if child == 0:
            os.execv(sys.executable, [sys.executable, "-m", "imagejob_cli", "lease", "exec", "gpu", "--", sys.executable, "-c", script])  # noqa: S606  the program under test
        assert "ready" in _read_until(terminal, "ready")
        os.write(terminal, b"\x03")
        assert "once" in _read_until(terminal, "ce")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        os.close(terminal)

    def test_a_killed_holder_takes_its_command_along(self, client: LeaseClient, execute: Exec) -> None:
        client.define("gpu", slots=1)
        process = execute("gpu", "--", "sleep", "60")
        eventually(lambda: [child.name() for child in psutil.Process(process.pid).children()] == ["sleep"], "the command runs")
        (command,) = psutil.Process(process.pid).children()
        fence = client.status("gpu").transitions
        process.kill()
        holding = client.acquire_blocking("gpu", timeout=PATIENCE_SECONDS)
        eventually(lambda: not command.is_running() or command.status() == psutil.STATUS_ZOMBIE, "the command is gone")
        assert holding.fence == fence + 1

    @pytest.mark.parametrize(("on_lost", "code"), [("kill", 128 + signal.SIGTERM), ("warn", 0)])
    def test_a_lost_slot(self, client: LeaseClient, execute: Exec, on_lost: str, code: int) -> None:
        client.define("gpu", slots=1, lease_duration_seconds=2)
        seconds = "60" if on_lost == "kill" else "4"
        process = execute("gpu", "--on-lost", on_lost, "--", "sleep", seconds)
        eventually(lambda: client.status("gpu").held, "it holds")
        process.send_signal(signal.SIGSTOP)  # as a machine that sleeps, or a host that is stuck
        client.acquire_blocking("gpu", timeout=PATIENCE_SECONDS)
        process.send_signal(signal.SIGCONT)
        result, _, err = ended(process)
        assert result == code
        expected = (
            "ending the command, which has 667 ms" if on_lost == "kill" else "somebody else may be granted it while the command goes on"
        )
        assert f"imagejob: the slot of gpu is lost: {expected}\n" in err

    def test_pipes_work_as_without_it(self, client: LeaseClient, runtime: Path) -> None:  # noqa: ARG002  sets the store
        client.define("gpu", slots=1)
        command = f"{sys.executable} -m imagejob_cli lease exec gpu -- yes | head -n 1"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)
        assert (done.stdout, done.stderr) == ("y\n", "")


def _read_until(terminal: int, text: str) -> str:
    seen = ""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while text not in seen:
        assert time.monotonic() < deadline, f"not in time: {text!r} in {seen!r}"
        seen += os.read(terminal, 1000).decode()
    return seen

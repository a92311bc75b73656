"""Child processes that cannot outlive this one, whatever ends it.

Test runs are killed: by a timeout, by CI, by an impatient developer. What they started must not stay behind, holding memory, ports and
files; and then no clean-up code of ours gets to run. Linux can do it: a process may ask to be killed when its parent ends.
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)

_SPAWNER: Final = ThreadPoolExecutor(1, thread_name_prefix="spawn")
"""To Linux the parent is the thread that forked. This one lives as long as the interpreter, whoever asks for a child."""


@dataclass(frozen=True)
class Child:
    """A running child process, whose output goes to a file."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def has_ended(self, within: float) -> bool:
        """Whether it has ended, or does so in the next `within` seconds."""
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end_of_log(self, lines: int = 12) -> str:
        """The last lines of what it said."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def kill(self) -> None:
        """Ends it at once, if it has not ended."""
        self.process.kill()
        self.process.wait()


def start(name: str, command: Sequence[str], *, folder: Path, log: Path, env: Mapping[str, str] | None = None) -> Child:
    """Starts a child process that is killed when this process ends.

    Args:
        name: What to call it in messages.
        command: Program and arguments.
        folder: Its working directory.
        log: File that its output is appended to.
        env: Its whole environment; this process's unless given.
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the request was made
            os._exit(1)

    def spawn() -> "subprocess.Popen[bytes]":
        with log.open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # an interrupt from the keyboard is for this process, which then stops its children in order
                preexec_fn=die_with_parent,  # noqa: PLW1509  it takes no lock: two system calls through what is already loaded
            )

    return Child(name, _SPAWNER.submit(spawn).result(), log)

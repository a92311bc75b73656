"""Becomes a command that dies with its parent: `python tether.py PARENT-PID COMMAND...`.

A killed `imagejob lease exec` frees its slot at once, so its command must not go on. Linux does that with prctl(PR_SET_PDEATHSIG), which a
process has to ask for itself; doing it between fork and exec of a program with threads is not safe, so this small program does it and then
becomes the command. It must not import anything of ours: it starts without site-packages.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
CANNOT_EXECUTE = 126
COMMAND_NOT_FOUND = 127


def main(parent: int, command: list[str]) -> int:
    """Never returns if the command can be executed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        return signal.SIGKILL
    # Python ignores these, and the command would inherit that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606  running what the user asks for is the purpose
    except OSError as error:
        print(f"imagejob: {command[0]}: {error.strerror}", file=sys.stderr)
        return COMMAND_NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT_EXECUTE


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))

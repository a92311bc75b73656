"""The entry point, and what must be done before anything else is imported, which takes a second."""

import os
import sys

from imagejob_runner.pod.signals import hold_signals
from imagejob_runner.process import prepare_environment


def main() -> None:
    """Runs `imagejob-runner` with the arguments of the process, and ends it."""
    hold_signals()
    if sys.argv[1:2] == ["work"] and prepare_environment(os.environ):
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606  itself, once, with an allocator that suits inference
    from imagejob_runner.pod.command import command  # noqa: PLC0415  a signal may come while it is imported

    command()

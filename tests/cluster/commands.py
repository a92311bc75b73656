"""Other programs: running them with messages that a person can act on, and getting those that Debian packages."""

import logging
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

from tests.cluster.exceptions import CommandError, UnavailableError

_LOG = logging.getLogger(__name__)

_END_OF_OUTPUT: Final = 4000


def run(command: Sequence[str], *, stdin: bytes | None = None, env: Mapping[str, str] | None = None, timeout: float | None = None) -> str:
    """What a command prints on its standard output.

    Args:
        command: Program and arguments.
        stdin: What it reads.
        env: Added to this process's environment.
        timeout: Seconds after which it is killed.

    Raises:
        CommandError: It failed or took too long; carries the end of what it said.
    """
    try:
        result = subprocess.run(
            command,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            env={**os.environ, **(env or {})},
            timeout=timeout,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandError(f"there is no program `{command[0]}`") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"`{shlex.join(command)}` took longer than {timeout:g} s") from error
    if result.returncode != 0:
        said = (result.stdout[-_END_OF_OUTPUT:] + b"\n" + result.stderr[-_END_OF_OUTPUT:]).decode(errors="replace").strip()
        raise CommandError(f"`{shlex.join(command)}` ended with {result.returncode}:\n{said}")
    return result.stdout.decode()


def provide(programs: Mapping[str, str], *, why: str) -> None:
    """Makes sure that programs are there, installing their Debian packages if this is root on Debian or the like.

    Args:
        programs: The package of each program.
        why: What they are needed for, for people.

    Raises:
        UnavailableError: Some are missing and cannot be installed; says which and how to get them.
    """
    missing = {package for program, package in programs.items() if shutil.which(program) is None}
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *sorted(missing)]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise UnavailableError(f"{why} needs {', '.join(sorted(missing))}; install what is missing, as with: sudo {shlex.join(command)}")
    _LOG.info("installing %s", ", ".join(sorted(missing)))
    # No service may start by itself: what runs here is started, and stopped, by this tool.
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    try:
        run(["apt-get", "update", "--quiet"])
        run(command, env=quiet)
    except CommandError as error:
        raise UnavailableError(f"{why} needs {', '.join(sorted(missing))}, and installing that failed: {error}") from error

"""Go, which all programs of the test clusters are built with: its module proxy is at hand where container registries are not."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.cluster.exceptions import UnavailableError

_FETCHES_TOOLCHAINS: Final = (1, 21)
"""From this version on Go itself gets the newer Go that a module asks for, unless GOTOOLCHAIN=local forbids it."""


def require_go(wanted: str, why: str) -> str:
    """Path of a Go that can build a module with ``go <wanted>`` in its go.mod.

    Raises:
        UnavailableError: There is no Go, or it is too old and may not fetch a newer one.
    """
    go = shutil.which("go")
    if go is None:
        raise UnavailableError(
            f"{why} is built with Go, and there is no `go` on the PATH; install Go {wanted} or newer (https://go.dev/dl)"
        )
    answer = subprocess.run([go, "env", "GOVERSION", "GOTOOLCHAIN"], cwd="/", capture_output=True, text=True, check=False)
    version, _, toolchain = answer.stdout.strip().partition("\n")
    found = _numbers(version)
    if not found:
        raise UnavailableError(f"{why} is built with Go, and {go} does not tell its version: {answer.stderr.strip() or version!r}")
    fetches = found >= _FETCHES_TOOLCHAINS and not toolchain.strip().startswith("local")
    if found < _numbers(wanted) and not fetches:
        raise UnavailableError(
            f"{why} needs Go {wanted} or newer, and {go} is {version.removeprefix('go')}; install a newer one (https://go.dev/dl), "
            "or with Go 1.21 or newer set GOTOOLCHAIN=auto"
        )
    return go


def run_go(go: str, arguments: Sequence[str], *, folder: Path, env: Mapping[str, str], what: str) -> str:
    """What a go command prints.

    Args:
        go: The command.
        arguments: What it is to do.
        folder: Its working directory.
        env: Added to this process's environment. GOTMPDIR names a folder that goes anyhow: a Go that is killed leaves its temporary files.
        what: What to call it in messages.

    Raises:
        UnavailableError: It failed; the message carries the end of what it said.
    """
    # A workspace, flags or a target of the user's own would change what is built.
    own = {"GOWORK": "off", "GOFLAGS": "-buildvcs=false", "CGO_ENABLED": "0", "GOOS": "", "GOARCH": ""}
    result = subprocess.run(
        [go, *arguments],
        cwd=folder,
        env={**os.environ, **own, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise UnavailableError(f"building {what} failed (`go {' '.join(arguments)}`):\n{(result.stdout + result.stderr).strip()[-4000:]}")
    return result.stdout


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: ``go1.26.8`` is (1, 26, 8)."""
    found = re.search(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()

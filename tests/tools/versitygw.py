"""Installs the S3 server that the tests run against: versitygw, a real implementation that keeps its objects in a folder.

``python -m tests.tools.versitygw`` builds it once with Go into a cache folder and prints where it is. Tests that need it build it when it
is not there, and say what is missing when they cannot.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "v1.8.0"
MODULE = f"github.com/versity/versitygw/cmd/versitygw@{VERSION}"


class ToolMissingError(Exception):
    """The server is not there and cannot be built."""


def cache_folder() -> Path:
    """Where the server's program is kept: below $IMAGEJOB_TOOLS_CACHE, else below the user's cache."""
    chosen = os.environ.get("IMAGEJOB_TOOLS_CACHE")
    root = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "imagejob", "tools")
    return root / f"versitygw-{VERSION}"


def find() -> Path | None:
    """The program, if it is installed."""
    path = cache_folder() / "versitygw"
    return path if os.access(path, os.X_OK) else None


def install() -> Path:
    """The program, built if need be.

    Raises:
        ToolMissingError: It cannot be built; the message says why.
    """
    if (found := find()) is not None:
        return found
    go = shutil.which("go")
    if go is None:
        raise ToolMissingError("the S3 tests need versitygw, and building it needs Go (https://go.dev/dl); install Go and run again")
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    result = subprocess.run([go, "install", MODULE], env={**os.environ, "GOBIN": str(folder)}, capture_output=True, text=True, check=False)
    found = find()
    if result.returncode != 0 or found is None:
        raise ToolMissingError(f"`go install {MODULE}` failed: {result.stderr.strip()[-2000:]}")
    return found


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{install()}\n")
    except ToolMissingError as error:
        sys.exit(str(error))

"""The command line called in this process, with a Lease store of the test's own."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from imagejob_cli.app import app
from nodelease import LeaseClient
from tests.unit.cli.builders import Document, Imagejob, Write


@pytest.fixture
def imagejob(monkeypatch: pytest.MonkeyPatch) -> Imagejob:
    """Runs `imagejob` with these arguments."""
    monkeypatch.setattr("sys.path", [*sys.path])  # `imagejob run` adds to it
    monkeypatch.setattr("imagejob_runner.local.fork_server.start_early", lambda _: None)  # no test here gets as far as a process

    def run(*arguments: str | Path, stdin: str | None = None, env: Mapping[str, str] | None = None) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin, env=env, prog_name="imagejob")

    return run


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of a Lease store. The path of a socket must be short, and pytest's are long."""
    path = Path(tempfile.mkdtemp(prefix="imagejob-"))
    monkeypatch.setenv("IMAGEJOB_RUNTIME_DIR", str(path))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def client(runtime: Path) -> Iterator[LeaseClient]:
    """Somebody else who uses the store."""
    with LeaseClient.local("somebody", runtime) as other:
        yield other


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes documents into one file."""

    def to_file(*documents: Document, name: str = "job.yaml") -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump_all(documents))
        return path

    return to_file

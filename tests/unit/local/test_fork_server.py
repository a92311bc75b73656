"""What the fork server loads is guessed from the files, before they are read."""

from pathlib import Path

import pytest

from imagejob_runner.local import fork_server

EXAMPLE = Path(__file__).parents[3] / "examples" / "imagejob.yaml"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    kinds: list[set[str]] = []
    monkeypatch.setattr(fork_server, "start", lambda found: kinds.append(set(found)))
    return kinds


def test_the_steps_of_all_files_are_loaded(started: list[set[str]], tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text('{"steps": [{"name": "solve", "call": {"function": "a:b"}}, {"name": "x", "transform" : {}}]}')
    fork_server.start_early([EXAMPLE, tmp_path / "job.json"])
    assert started == [{"download", "infer", "save", "call", "transform"}]


def test_a_pipeline_of_plain_functions_loads_no_torch(started: list[set[str]], tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("steps:\n  - name: inference\n    call: {function: infer_all:run}\n")
    fork_server.start_early([tmp_path / "job.yaml"])
    assert started == [{"call"}]


def test_what_cannot_be_read_is_left_to_whoever_reads_it_properly(started: list[set[str]], tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("kind: ConfigMap\n")
    fork_server.start_early([tmp_path, tmp_path / "none.yaml", tmp_path / "other.yaml", Path("/dev/null")])
    assert started == []

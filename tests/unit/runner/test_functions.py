"""Finding what a pipeline names, whatever the user's module does when it is imported."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagejob_runner.exceptions import InvalidJobError, ModelError
from imagejob_runner.functions import find_callable


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of the module `mine_to_find`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "mine_to_find.py"
    sys.modules.pop("mine_to_find", None)


def test_functions_and_methods_are_found() -> None:
    assert find_callable("pathlib:Path.home", "call.function") == Path.home


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module_at_all", "cannot import 'mine_to_find' .No module named 'no_such_module_at_all'.*must be installed"),
        ("\n1 / 0", r"fails when it is imported: ZeroDivisionError: division by zero \(.*mine_to_find.py, line 2\)"),
        ("def broken(:", r"fails when it is imported: SyntaxError: .* \(mine_to_find.py, line 1\)"),
        ("raise SystemExit(3)", r"fails when it is imported: SystemExit: 3 \(.*line 1\)"),
        ("", "'mine_to_find' has no 'thing'"),
        ("thing = 3", "is a int, not a function"),
    ],
    ids=["needs another", "raises", "syntax", "exits", "empty", "no function"],
)
def test_what_is_wrong_is_the_job_s_fault(module: Path, code: str, reason: str) -> None:
    module.write_text(code)
    with pytest.raises(InvalidJobError, match=rf"call.function: 'mine_to_find:thing'.*{reason}"):
        find_callable("mine_to_find:thing", "call.function")


def test_a_model_that_cannot_be_imported_is_refused(module: Path) -> None:
    module.write_text("raise ValueError('unknown preset')")
    with pytest.raises(ModelError, match=r"model.architecture: .*ValueError: unknown preset"):
        find_callable("mine_to_find:thing", "model.architecture", ModelError)

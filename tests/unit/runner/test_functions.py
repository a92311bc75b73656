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


def test_functions_and_methods_are_found(module: Path) -> None:
    module.write_text("class Thing:\n    @classmethod\n    def made(cls):\n        return cls()\n")
    found = find_callable("mine_to_find:Thing.made", "call.function")
    assert type(found()).__name__ == "Thing"


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


BORROWED = """
import functools, operator, os, subprocess
from os import system as run
from subprocess import Popen
import numpy

def wrapped(function):
    @functools.wraps(function)
    def inner(*arguments):
        return function(*arguments)
    return inner

class Mine:
    run = staticmethod(subprocess.run)
    def method(self): ...

class Child(subprocess.Popen): ...

half = functools.partial(functools.partial(os.system), "x")
mine_half = functools.partial(Mine)
pick = operator.attrgetter("x")
call = operator.methodcaller("x")
text = "".join
thing = Mine()
cached = functools.cache(lambda: None)
cached_system = functools.cache(os.system)
of_my_own = wrapped(os.system)
by_another = numpy.vectorize(lambda: None)
"""


@pytest.mark.parametrize(
    "name",
    ["run", "os.system", "os.path.join", "Popen", "Mine.run", "half", "pick", "call", "text", "cached_system", "functools.reduce"],
)
def test_what_the_standard_library_defines_is_never_called(module: Path, name: str) -> None:
    module.write_text(BORROWED)
    with pytest.raises(
        ModelError, match=rf"model.architecture: 'mine_to_find:{name}' is Python's own .*defined in '\w+'.*write a function"
    ):
        find_callable(f"mine_to_find:{name}", "model.architecture", ModelError)


@pytest.mark.parametrize(
    "path", ["os:system", "subprocess:run", "builtins:exec", "posix:system", "antigravity:webbrowser.open", "pty:spawn"]
)
def test_modules_of_the_standard_library_are_not_even_imported(path: str) -> None:
    before = set(sys.modules)
    with pytest.raises(InvalidJobError, match=f"call.function: '{path}' is Python's own .*write a function"):
        find_callable(path, "call.function")
    assert set(sys.modules) == before


@pytest.mark.model
@pytest.mark.parametrize(
    "path", ["torch.hub:load", "torch:hub.load", "mine_to_find:hub", "pip:main", "torch.utils.cpp_extension:load_inline", "torch:load"]
)
def test_what_runs_code_that_it_is_given_is_refused(module: Path, path: str) -> None:
    module.write_text("from torch.hub import load as hub")
    with pytest.raises(
        InvalidJobError, match=rf"call.function: '{path}' is from '.*', which fetches or builds code .*in a module of your own"
    ):
        find_callable(path, "call.function")


@pytest.mark.parametrize(
    "name", ["Mine", "thing.method", "Child", "mine_half", "cached", "of_my_own", "by_another", "numpy.mean", "numpy.add"]
)
def test_what_others_define_is_found(module: Path, name: str) -> None:
    module.write_text(BORROWED)
    find_callable(f"mine_to_find:{name}", "call.function")


def test_only_allowed_modules_are_imported(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module.write_text(BORROWED)
    monkeypatch.setenv("IMAGEJOB_ALLOWED_MODULES", "torchvision, mine_to")
    with pytest.raises(
        InvalidJobError,
        match=r"call.function: 'mine_to_find:Mine' is from 'mine_to_find', which is not among the modules that are allowed here: "
        r"torchvision, mine_to\. Use one of these, or ask whoever runs the cluster .*IMAGEJOB_ALLOWED_MODULES",
    ):
        find_callable("mine_to_find:Mine", "call.function")
    assert "mine_to_find" not in sys.modules
    monkeypatch.setenv("IMAGEJOB_ALLOWED_MODULES", "mine_to_find")
    for name in ("Mine", "thing.method", "cached", "of_my_own"):
        find_callable(f"mine_to_find:{name}", "call.function")
    # Not by way of an allowed module to what another one defines.
    with pytest.raises(InvalidJobError, match=r"'mine_to_find:numpy.random.default_rng' is from 'numpy.random.*', which is not among"):
        find_callable("mine_to_find:numpy.random.default_rng", "call.function")
    monkeypatch.setenv("IMAGEJOB_ALLOWED_MODULES", "mine_to_find,numpy.random")
    find_callable("numpy.random:default_rng", "call.function")
    with pytest.raises(InvalidJobError, match="is Python's own"):
        find_callable("mine_to_find:run", "call.function")
    monkeypatch.setenv("IMAGEJOB_ALLOWED_MODULES", " ")
    find_callable("mine_to_find:numpy.mean", "call.function")

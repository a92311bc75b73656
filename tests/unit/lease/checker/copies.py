"""The code under check: copies of the real modules on a clock of the model's, with or without a guard taken away."""

import importlib.abc
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import nodelease
from imagejob_operator.limits import plan, vacancies

_numbers = count()
_LEASE = Path(nodelease.__file__).parent
_OPERATOR = {"plan": plan, "vacancies": vacancies}

Change = tuple[str, str, str]
"""A module, a text that stands there once, and what is to stand there instead."""


class Code(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """One copy of the modules.

    Args:
        changes: What is to be different in them.
    """

    def __init__(self, *changes: Change) -> None:
        self.time = 0
        self.clock_name = "node"
        self.wall: Callable[[], int] = lambda: 0
        self._name = f"checked_lease_{next(_numbers)}"
        self._changes: dict[str, list[tuple[str, str]]] = {}
        for module, old, new in changes:
            self._changes.setdefault(module, []).append((old, new))
        sys.meta_path.insert(0, self)
        try:
            self.transitions = self._load("transitions")
            self.state = self._load("state")
            self.codec = self._load("codec")
            self.holding = self._load("holding")
            self.expiry = self._load("expiry")
            self.row = self._load("row")
            self.plan = self._load("operator_plan")
            self.vacancies = self._load("operator_vacancies")
            assert not self._changes, f"no such module: {self._changes}"
        finally:
            sys.meta_path.remove(self)
            for name in [name for name in sys.modules if name.startswith(self._name)]:
                del sys.modules[name]

    def _load(self, module: str) -> Any:  # noqa: ANN401  a module
        return importlib.import_module(f"{self._name}.{module}")

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002  as the protocol has it
        """See importlib.abc.MetaPathFinder."""
        if fullname.partition(".")[0] != self._name:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=self._path(fullname).suffix == "")

    def exec_module(self, module: ModuleType) -> None:
        """See importlib.abc.Loader."""
        path = self._path(module.__name__)
        if path.suffix == "":
            return
        source = path.read_text()
        for old, new in self._changes.pop(module.__name__.partition(".")[2], ()):
            assert source.count(old) == 1, f"the guard {old!r} is not in {path.name}, or there twice"
            source = source.replace(old, new)
        source = source.replace("from nodelease", f"from {self._name}").replace(
            "from imagejob_operator.limits.plan", f"from {self._name}.operator_plan"
        )
        exec(compile(source, path.name, "exec"), module.__dict__)  # noqa: S102  our own source
        if path.name == "clock.py":
            module.__dict__.update(
                now=lambda: self.time, clock_id=lambda: self.clock_name, wall_time=lambda: "", wall_microseconds=self._wall
            )
        if path.name == "constants.py":
            module.__dict__.update(TAKE_UP_SECONDS=3)

    def _wall(self) -> int:
        return self.wall()

    def _path(self, fullname: str) -> Path:
        name = fullname.partition(".")[2]
        if name.startswith("operator_"):
            return Path(str(_OPERATOR[name.removeprefix("operator_")].__file__))
        folder = _LEASE / name.replace(".", "/")
        return folder if folder.is_dir() else folder.with_suffix(".py")

"""The images are made of the checkout's code, and of nothing else that lies about."""

import tomllib
from pathlib import Path

from tests.cluster.project_images import sources

_CHECKOUT = Path(__file__).parents[3]


def test_images_are_made_of_the_packages_and_what_describes_them() -> None:
    found = sources(_CHECKOUT)
    assert {"pyproject.toml", "README.md", "LICENSE", "runner/imagejob_runner/shard.py", "cli/imagejob_cli/py.typed"} <= set(found)
    packages = {"crds", "lease", "runner", "operator", "cli"}
    assert {path.partition("/")[0] for path in found} == {"pyproject.toml", "README.md", "LICENSE", *packages}
    assert not [path for path in found if "__pycache__" in path or path.endswith(".pyc")]


def test_every_package_that_is_installed_is_in_them() -> None:
    packages = tomllib.loads((_CHECKOUT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    found = sources(_CHECKOUT)
    assert [package for package in packages if not any(path.startswith(f"{package}/") for path in found)] == []

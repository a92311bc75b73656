import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.unit.cli.builders import Imagejob

COMMANDS = [[], ["run"], ["show"], ["verify"], ["validate"], ["lease"], ["lease", "exec"], ["lease", "define"], ["lease", "status"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_examples(imagejob: Imagejob, command: list[str]) -> None:
    result = imagejob(*command, "--help")
    assert result.exit_code == 0
    assert f"Usage: {' '.join(['imagejob', *command])}" in result.stdout
    assert "Examples:\n    imagejob " in result.stdout or "Examples:\n  imagejob " in result.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_preformatted_help_fits_100_columns(imagejob: Imagejob, command: list[str]) -> None:
    assert max(map(len, imagejob(*command, "--help").stdout.splitlines())) <= 100


@pytest.mark.parametrize("group", [[], ["lease"]], ids=" ".join)
def test_no_command_is_described_in_half_a_sentence(imagejob: Imagejob, group: list[str]) -> None:
    commands = imagejob(*group, "--help").stdout.partition("Options:")[2]
    assert not [line for line in commands.splitlines() if line.endswith("...")]


def test_help_imports_nothing_heavy() -> None:
    heavy = ["torch", "PIL", "numpy", "pyarrow", "aiohttp", "obstore", "pydantic", "rich", "nodelease"]
    script = (
        "import sys; from imagejob_cli.app import app\n"
        "try: app.main(prog_name='imagejob')\nexcept SystemExit: print([name for name in "
        f"{heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, "--help"], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_a_run_on_files_loads_no_library_that_it_may_not_need() -> None:
    heavy = ["torch", "PIL", "numpy", "pyarrow", "aiohttp", "kubernetes", "prometheus_client"]
    script = (
        "import sys, imagejob_cli.selection, imagejob_cli.running, imagejob_cli.table, imagejob_runner.planning\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_version(imagejob: Imagejob) -> None:
    assert imagejob("--version").stdout == f"imagejob {version('imagejob')}\n"


def test_it_is_also_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "imagejob_cli", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("imagejob ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runn"], "No such command 'runn'"),
        (["run"], "Missing option '-f' / '--filename'."),
        (["run", "-f", "x.yaml", "--parallelism", "0"], "0 is not in the range x>=1"),
        (["show"], "Missing argument 'OUTPUT'"),
        (["show", "out", "--status", "bad"], "'bad' is not one of"),
        (["lease", "exec", "gpu"], "Missing argument '-- COMMAND...'"),
        (
            ["lease", "exec", "gpu", "--timeout", "soon", "--", "true"],
            "must be a duration of whole numbers with h, m, s or ms, such as 500ms, 30s or 1h30m, not 'soon'",
        ),
        (["lease", "define", "gpu"], "Missing option '--slots'"),
    ],
)
def test_wrong_usage_is_2_and_says_what(imagejob: Imagejob, arguments: list[str], message: str) -> None:
    result = imagejob(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""

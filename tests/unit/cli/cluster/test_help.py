"""The help of the cluster's commands, under both names of the program."""

import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from imagejob_cli.app import app, plugin
from imagejob_cli.cluster.constants import PLUGIN
from imagejob_cli.cluster.kubeconfig import Access
from imagejob_cli.cluster.options import command_line
from imagejob_cli.naming import renamed

COMMANDS = ["submit", "status", "logs", "suspend", "resume", "cancel", "verify", "limits"]


def help_of(*command: str) -> Result:
    return CliRunner().invoke(plugin, [*command, "--help"], prog_name=PLUGIN)


@pytest.mark.parametrize("command", [[], *([each] for each in COMMANDS), ["lease", "exec"]], ids=" ".join)
def test_kubectls_users_read_kubectl_in_every_example(command: list[str]) -> None:
    result = help_of(*command)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: {' '.join([PLUGIN, *command])} ")
    examples = result.stdout.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    assert examples
    assert all("kubectl imagejob " in line for line in examples if "imagejob" in line), examples
    assert sum("kubectl imagejob " in line for line in examples) >= 1
    assert max(map(len, result.stdout.splitlines())) <= 100


@pytest.mark.parametrize("command", COMMANDS)
def test_others_read_imagejob(command: str) -> None:
    text = CliRunner().invoke(app, [command, "--help"], prog_name="imagejob").stdout
    assert text.startswith(f"Usage: imagejob {command} ")
    assert "kubectl imagejob" not in text
    assert "Examples:\n    imagejob " in text


def test_every_command_is_listed() -> None:
    for command in COMMANDS:
        assert f"\n  {command} " in help_of().stdout


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("imagejob run -f x | imagejob show y", "kubectl imagejob run -f x | kubectl imagejob show y"),
        ("kubectl imagejob status", "kubectl imagejob status"),
        ("examples/imagejob.yaml", "examples/imagejob.yaml"),
        ("of imagejob's own", "of imagejob's own"),
    ],
)
def test_only_calls_are_renamed(text: str, expected: str) -> None:
    assert renamed(text, PLUGIN) == expected


def test_commands_to_copy_mean_the_same_cluster() -> None:
    access = Access(kubeconfig="my config", context="prod", namespace="team")
    assert command_line(access, "status", "demo") == "imagejob status demo -n team --context prod --kubeconfig 'my config'"
    assert command_line(Access(), "status", "demo") == "imagejob status demo"


@pytest.mark.parametrize("command", [["--help"], ["status", "--help"], ["submit", "--help"], ["verify", "--help"]], ids=" ".join)
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    heavy = ["kubernetes", "aiohttp", "torch", "PIL", "numpy", "pyarrow", "obstore", "pydantic", "rich", "nodelease", "yaml"]
    script = (
        "import sys; from imagejob_cli.app import plugin\n"
        "try: plugin.main(prog_name='kubectl imagejob')\nexcept SystemExit: print([name for name in "
        f"{heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "-A", "demo"], "-A is for the jobs of all namespaces"),
        (["status", "--timeout", "3s"], "--timeout is for -w."),
        (["submit"], "Missing option '-f' / '--filename'."),
        (["submit", "-f", "x", "--timeout", "3s"], "--timeout is for --wait."),
        (["submit", "-f", "x", "--operator-namespace", "y"], "--operator-namespace is for --wait."),
        (["submit", "-f", "-"], "the files hold nothing of imagejob's. Name the file with the ImageJob with another -f."),
        (["cancel"], "Missing argument 'JOB...'"),
        (["verify"], "Missing argument 'JOB'"),
        (["logs", "demo", "--part", "x"], "'x' is not one of"),
    ],
)
def test_wrong_usage_is_2_and_says_what(arguments: list[str], message: str) -> None:
    config = "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}"
    result = CliRunner().invoke(plugin, arguments, input=config, prog_name=PLUGIN)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize("arguments", [["verify"], ["verify", "out", "--job", "demo"]])
def test_verify_wants_an_output_or_a_job(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments, prog_name="imagejob")
    assert result.exit_code == 2
    assert "OUTPUT" in result.stderr

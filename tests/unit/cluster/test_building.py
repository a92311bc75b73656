"""Building tools and components: what is said where it cannot be done, and that the pins agree with each other."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import tools
from tests.cluster.cache import locked
from tests.cluster.components import build
from tests.cluster.components.build import ETCD_VERSION, KUBERNETES_VERSION, NAMES
from tests.cluster.exceptions import UnavailableError
from tests.cluster.golang import require_go
from tests.cluster.tools import KIND, TOOLS

CHECKOUT = Path(__file__).parents[3]
MODULE = CHECKOUT / "tests" / "cluster" / "components"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of one empty folder, and an empty cache."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("IMAGEJOB_TOOLS_CACHE", str(tmp_path / "cache"))
    return folder


def put_go(folder: Path, version: str, toolchain: str = "auto", install: str = "exit 1") -> None:
    """A go that says what it is, and does one thing when it is to build."""
    go = folder / "go"
    go.write_text(f'#!/bin/sh\nif [ "$1" = env ]; then echo {version}; echo {toolchain}; else {install}; fi\n')
    go.chmod(0o755)


@pytest.mark.parametrize(
    ("version", "toolchain"),
    [("go1.26.0", "local"), ("go1.26.8", "local"), ("go1.27", "auto"), ("go1.21.3", "auto"), ("go1.22", "go1.22+auto")],
)
def test_a_go_that_will_do(path: Path, version: str, toolchain: str) -> None:
    put_go(path, version, toolchain)
    assert require_go("1.26.0", "Kubernetes") == str(path / "go")


@pytest.mark.parametrize(("version", "toolchain"), [("go1.25.9", "local"), ("go1.20.14", "auto"), ("go1.9", "local")])
def test_a_go_that_is_too_old(path: Path, version: str, toolchain: str) -> None:
    put_go(path, version, toolchain)
    with pytest.raises(UnavailableError) as raised:
        require_go("1.26.0", "Kubernetes")
    assert str(raised.value) == (
        f"Kubernetes needs Go 1.26.0 or newer, and {path}/go is {version[2:]}; install a newer one (https://go.dev/dl), "
        "or with Go 1.21 or newer set GOTOOLCHAIN=auto"
    )


def test_no_go(path: Path) -> None:
    with pytest.raises(UnavailableError) as raised:
        KIND.install()
    assert str(raised.value) == (
        f"kind is built with Go, and there is no `go` on the PATH; install Go {KIND.go} or newer (https://go.dev/dl)"
    )
    assert not [entry for entry in (path.parent / "cache").iterdir() if entry.is_dir()]


def test_a_broken_go(path: Path) -> None:
    put_go(path, "", "")
    with pytest.raises(UnavailableError, match=f"{path}/go does not tell its version"):
        KIND.install()


def test_a_build_that_fails_shows_why(path: Path) -> None:
    put_go(path, "go1.30.0", install="echo no route to host >&2; exit 1")
    with pytest.raises(UnavailableError) as raised:
        KIND.install()
    assert str(raised.value) == (f"building kind {KIND.version} failed (`go install sigs.k8s.io/kind@{KIND.version}`):\nno route to host")


def test_a_tool_is_built_into_the_cache_once(path: Path) -> None:
    put_go(path, "go1.30.0", install='echo "#!/bin/sh" > "$GOBIN/kind" && /bin/chmod +x "$GOBIN/kind"')
    program = path.parent / "cache" / f"kind-{KIND.version}" / "kind"
    assert KIND.install() == program
    (path / "go").unlink()
    assert KIND.install() == program


def test_a_tool_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="no such tool: kindd; there are kind, helm"):
        tools.main(["kindd"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_tools_are_pinned(tool: tools.Tool) -> None:
    assert re.fullmatch(r"v\d+\.\d+\.\d+", tool.version)


def test_the_parts_of_kubernetes_are_of_one_version() -> None:
    replaced = re.findall(r"^\t(\S+) => (\S+) (\S+)$", (MODULE / "go.mod").read_text(), re.MULTILINE)
    assert replaced
    assert {version for _, _, version in replaced} == {KUBERNETES_VERSION.replace("v1.", "v0.")}
    assert all(name == published for name, published, _ in replaced)


def test_there_is_one_etcd() -> None:
    required = re.findall(r"^\tgo\.etcd\.io/etcd/\S+ (\S+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    assert set(required) == {ETCD_VERSION}


def test_the_program_knows_every_name_that_it_gets() -> None:
    main = (MODULE / "main.go").read_text()
    assert tuple(re.findall(r'^\t"([a-z-]+)": +', main, re.MULTILINE)) == NAMES


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(("ci", "outcome"), [("", "skipped"), ("true", "errors")])
def test_integration_tests_say_why_they_cannot_run(monkeypatch: pytest.MonkeyPatch, ci: str, outcome: str) -> None:
    monkeypatch.setenv("CI", ci)
    test = f"{CHECKOUT}/tests/integration/test_control_plane.py::test_versions"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    said = f"Kubernetes {KUBERNETES_VERSION} with etcd {ETCD_VERSION} is built with Go, and there is no `go` on the PATH"
    assert said in run.stdout
    assert f"1 {outcome.removesuffix('s')}" in run.stdout
    assert (run.returncode == 0) == (not ci)


def test_integration_tests_say_what_they_wait_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "")
    cache = path.parent / "cache"
    cache.mkdir()
    entry = f"kubernetes-{KUBERNETES_VERSION}-{build._digest()}"
    test = f"{CHECKOUT}/tests/integration/test_control_plane.py::test_versions"
    command = [sys.executable, "-u", "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    with locked(cache / f".{entry}.lock", "nobody"):
        run = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
        assert run.stdout is not None
        said = f"waiting for another run to make {entry}; one in the background writes to {cache / 'background.log'}\n"
        assert said in iter(run.stdout.readline, "")
    assert "1 skipped" in run.communicate()[0]

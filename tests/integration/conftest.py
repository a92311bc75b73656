"""Control planes for integration tests: one for the whole session, and as many as a test wants of its own.

On a machine that cannot run them these tests are skipped with the reason; where $CI is set they fail, so that nobody takes a run without
them for a good one.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.cluster.components.build import install_components
from tests.cluster.control_plane import ControlPlane, Options, run_control_plane
from tests.cluster.exceptions import UnavailableError
from tests.tools.unavailable import leave_out

_CRDS: Final = Path(__file__).parents[2] / "crds"
_DEADLINE: Final = "60s"

StartControlPlane = Callable[[Options], ControlPlane]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows the logs of a failed test's control planes."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        planes = {id(value): value for value in item.funcargs.values() if isinstance(value, ControlPlane)}
        for plane in planes.values():
            report.sections += [(f"end of the log of {name}", end) for name, end in plane.ends_of_logs() if end]
    return report


@pytest.fixture(scope="session", autouse=True)
def components() -> Path:
    """The folder with Kubernetes' programs, without which no test here can run. A test's time begins when it is there."""
    try:
        return install_components()
    except UnavailableError as error:
        leave_out(error)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A control plane that all tests share: a test that leaves something behind uses a namespace, or a control plane, of its own."""
    with run_control_plane() as plane:
        yield plane


@pytest.fixture
def start_control_plane() -> Iterator[StartControlPlane]:
    """Starts control planes that end with the test."""
    with ExitStack() as running:
        yield lambda options: running.enter_context(run_control_plane(options))


@pytest.fixture(scope="session")
def cluster(control_plane: ControlPlane) -> ControlPlane:
    """The shared control plane, with the project's kinds."""
    control_plane.kubectl("apply", "-f", str(_CRDS))
    control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", f"--timeout={_DEADLINE}")
    return control_plane


@pytest.fixture(scope="module")
def no_limits(cluster: ControlPlane) -> None:
    """NodeLimits are in no namespace: one that another module has left would be merged with what is applied under its name."""
    cluster.kubectl("delete", "nodelimits", "--all")


@pytest.fixture
def namespace(cluster: ControlPlane, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"test-{abs(hash(request.node.nodeid)):x}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")

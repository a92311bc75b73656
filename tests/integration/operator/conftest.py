"""A control plane with simulated nodes, and the operator as a process, for the tests of ImageJobs."""

from collections.abc import AsyncIterator, Iterator

import pytest
from kubernetes.aio.config import kube_config

from imagejob_operator.kubernetes import connect
from tests.cluster.control_plane import ControlPlane
from tests.cluster.exceptions import UnavailableError
from tests.cluster.tools import KWOK
from tests.integration.operator.imagejobs_harness import Plane, World, running_plane
from tests.tools.unavailable import leave_out


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A control plane of the module's own."""
    try:
        KWOK.install()
    except UnavailableError as error:
        leave_out(error)
    with running_plane(tmp_path_factory.mktemp("plane")) as plane:
        yield plane


@pytest.fixture(scope="module")
def simulated(plane: Plane) -> ControlPlane:
    """The control plane itself; the report of a test that fails shows its logs."""
    return plane.control_plane


@pytest.fixture
async def world(simulated: ControlPlane, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A namespace of the test's own."""
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(simulated.kubeconfig))  # read once, at import
    name = f"test-{abs(hash(request.node.nodeid)):x}"
    simulated.kubectl("create", "namespace", name)
    connection = await connect("imagejob-tests")
    try:
        yield World(connection.api, name)
    finally:
        await connection.api.close()
        simulated.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def operator(plane: Plane) -> Plane:
    """The operator runs, with the settings that it comes with."""
    if not plane.operator_runs:
        plane.start_operator()
    return plane

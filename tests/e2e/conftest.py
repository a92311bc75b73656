"""A real cluster for end-to-end tests: the one of ``make cluster-up`` if it runs, else one for this session.

On a machine that cannot run one these tests are skipped with the reason; where $CI is set they fail, so that nobody takes a run without
them for a good one.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cluster import base_images, lifecycle, project_images
from tests.cluster.cluster import Cluster
from tests.cluster.exceptions import UnavailableError
from tests.cluster.release import Release
from tests.e2e.pods import Pods
from tests.e2e.servers import Servers, s3_image
from tests.e2e.team import Team, new_namespace
from tests.tools.chart import NAMESPACE
from tests.tools.lease_recorder import LeaseRecorder
from tests.tools.unavailable import leave_out

_TEST_SECONDS: Final = 2700
"""Tests here wait for timers of Kubernetes, and for machines that may be slow. What fixtures build does not count."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs a cluster."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(_TEST_SECONDS))


_WRITERS: Final = {
    f"system:serviceaccount:{NAMESPACE}:imagejob-operator",
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:serviceaccount:kube-system:namespace-controller",
}
"""Who may write the Leases of all nodes."""

_FIGURES: Final = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints what tests have measured."""
    if lines := config.stash.get(_FIGURES, []):
        terminalreporter.section("measured on the cluster")
        terminalreporter.write("".join(f"{line}\n" for line in lines))


@pytest.fixture(scope="session")
def measured(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Takes a line with figures, which is printed after all tests."""
    return pytestconfig.stash.setdefault(_FIGURES, []).append


@pytest.fixture(scope="session")
def stays() -> bool:
    """Whether the cluster ran before, and so is left as it was; what is in one that is removed goes with it."""
    return lifecycle.find(lifecycle.default_name()) is not None


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config, stays: bool) -> Iterator[Cluster]:  # noqa: FBT001  a fixture
    """A cluster with three Ready nodes and two GPUs on each worker."""
    name = lifecycle.default_name()
    try:
        yield lifecycle.up(name, tell=pytestconfig.stash.setdefault(_FIGURES, []).append)
    except UnavailableError as error:
        leave_out(error)
    finally:
        if not stays:
            lifecycle.down(name)
            assert lifecycle.remains(name) == []


@pytest.fixture(scope="session")
def workers(cluster: Cluster) -> list[str]:
    """The names of the two workers."""
    return cluster.nodes("worker")


@pytest.fixture(scope="session")
def python_image(cluster: Cluster) -> str:
    """An image with Python that every worker has."""
    image = base_images.python(cluster.engine)
    cluster.load(image)
    return image


@pytest.fixture(scope="session")
def runner_image(cluster: Cluster) -> str:
    """The runner's image, as the checkout is now, with the demo's packages; every worker has it."""
    image = project_images.ensure(cluster.engine, "runner")
    cluster.load(image)
    return image


@pytest.fixture(scope="session")
def operator_image(cluster: Cluster) -> str:
    """The operator's image, as the checkout is now; every worker has it."""
    image = project_images.ensure(cluster.engine, "operator")
    cluster.load(image)
    return image


@pytest.fixture(scope="session")
def release(cluster: Cluster, workers: list[str], operator_image: str, runner_image: str, stays: bool) -> Iterator[Release]:  # noqa: FBT001
    """The chart, installed in a cluster that had no trace of it; the operator is ready."""
    release = Release(cluster, {"operator": operator_image, "runner": runner_image}, workers[0])
    release.remove()  # what a run that was killed has left
    try:
        release.install()
        yield release
    finally:
        if stays:
            release.remove()


@pytest.fixture(scope="session")
def servers(cluster: Cluster, workers: list[str], runner_image: str, stays: bool) -> Iterator[Servers]:  # noqa: FBT001  a fixture
    """A web server with photos and an S3 server, on the first worker."""
    image = s3_image(cluster.engine)
    cluster.load(image, workers[:1])
    servers = Servers(cluster)
    servers.stop()
    try:
        servers.start(s3=image, runner=runner_image, node=workers[0])
        yield servers
    finally:
        if stays:
            servers.stop()


@pytest.fixture(scope="session")
def recorder(cluster: Cluster, pytestconfig: pytest.Config) -> Iterator[LeaseRecorder]:
    """Sees every revision of every Lease of a limit, in all tests; at the end the API server's log says from which node each write came."""
    with LeaseRecorder(cluster.kubeconfig, NAMESPACE) as recorder:
        yield recorder
        figures = f"{recorder.judge.judged} revisions of Leases were judged; {recorder.gaps} times some may have been missed"
        pytestconfig.stash.setdefault(_FIGURES, []).append(figures)
        recorder.check(audit_log=cluster.audit_log, operators=_WRITERS)
        assert recorder.gaps <= recorder.gaps_allowed, figures


@pytest.fixture(autouse=True)
def _judge(recorder: LeaseRecorder) -> Iterator[None]:
    """Fails a test in whose time a Lease broke its contract."""
    yield
    recorder.check()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own."""
    with new_namespace(cluster) as namespace:
        yield namespace


@pytest.fixture
def pods(cluster: Cluster, python_image: str, namespace: str) -> Pods:
    """Makes pods in a namespace of the test's own."""
    return Pods(cluster, namespace, python_image)


@pytest.fixture
def team(cluster: Cluster, servers: Servers, release: Release, namespace: str) -> Team:
    """A namespace of the test's own that is ready for ImageJobs."""
    del release  # is installed
    team = Team(cluster, servers, namespace)
    team.prepare()
    return team

"""A real cluster for end-to-end tests: the one of ``make cluster-up`` if it runs, else one for this session.

On a machine that cannot run one these tests are skipped with the reason; where $CI is set they fail, so that nobody takes a run without
them for a good one.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cluster import base_images, lifecycle, project_images
from tests.cluster.cluster import Cluster
from tests.cluster.exceptions import UnavailableError
from tests.e2e.pods import Pods

_FIRST_TEST_SECONDS: Final = 2700
"""The first test waits until everything is built; on a cold machine that takes a quarter of an hour."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs a cluster."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(_FIRST_TEST_SECONDS))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster with three Ready nodes and two GPUs on each worker."""
    name = lifecycle.default_name()
    running = lifecycle.find(name) is not None
    try:
        yield lifecycle.up(name)
    except UnavailableError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    finally:
        if not running:
            lifecycle.down(name)


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


@pytest.fixture
def pods(cluster: Cluster, python_image: str) -> Iterator[Pods]:
    """Makes pods in a namespace of the test's own."""
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "test-"}}
    namespace = cluster.kubectl("create", "--filename=-", "--output=jsonpath={.metadata.name}", stdin=json.dumps(manifest))
    yield Pods(cluster, namespace, python_image)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")

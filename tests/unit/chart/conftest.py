"""Helm, which is built with Go.

On a machine that cannot build it these tests are skipped with the reason; where $CI is set they fail, so that nobody takes a run without
them for a good one.
"""

import pytest

from tests.cluster.exceptions import UnavailableError
from tests.cluster.tools import HELM
from tests.tools.unavailable import leave_out


@pytest.fixture(scope="session", autouse=True)
def _helm() -> None:
    try:
        HELM.install()
    except UnavailableError as error:
        leave_out(error)

"""What happens to tests on a machine that lacks what they need."""

import os
from typing import NoReturn

import pytest

from tests.cluster.exceptions import UnavailableError


def leave_out(error: UnavailableError) -> NoReturn:
    """Skips the test with the reason. Where $CI is set it fails, so that nobody takes a run without it for a good one."""
    if os.environ.get("CI"):
        pytest.fail(str(error), pytrace=False)
    pytest.skip(str(error))

"""Fixtures that more than one area of the tests uses."""

import signal
from collections.abc import Iterator

import pytest

from tests.tools.s3 import S3Server, s3_server


def pytest_configure() -> None:
    """Takes SIGINT as usual: a shell without job control has what it starts with `&` ignore it, and every program of the tests with it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def _s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(_s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """A real S3 server that this process, and the processes it starts, reach through their environment."""
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in _s3_server.env.items():
        monkeypatch.setenv(name, value)
    return _s3_server

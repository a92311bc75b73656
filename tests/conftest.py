"""Fixtures that more than one area of the tests uses."""

import logging
import signal
from collections.abc import Iterator
from typing import Final

import pytest

from tests.tools.s3 import S3Server, s3_server

_BUILDS: Final = ("tests.cluster.cache", "tests.cluster.components.build")
"""Loggers of what may take minutes before a test."""


class _Terminal(logging.Handler):
    """Shows on the terminal, at once, what a test waits for."""

    def __init__(self, config: pytest.Config) -> None:
        super().__init__()
        self._plugins = config.pluginmanager

    def emit(self, record: logging.LogRecord) -> None:
        capture, terminal = (self._plugins.getplugin(name) for name in ("capturemanager", "terminalreporter"))
        if capture is not None and terminal is not None:
            with capture.global_and_fixture_disabled():
                terminal.write_line(self.format(record))


def pytest_configure(config: pytest.Config) -> None:
    """Shows what is built or waited for.

    Takes SIGINT and SIGHUP as usual for the programs of the tests: a shell without job control has what it starts with `&` ignore the one,
    `nohup` the other, and what is ignored stays so in every program that is started. Of SIGHUP this process itself still takes no notice
    then, for what has a handler is at its default in a program that is started.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    for name in _BUILDS:
        logger = logging.getLogger(name)
        logger.addHandler(_Terminal(config))
        logger.setLevel(logging.INFO)


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

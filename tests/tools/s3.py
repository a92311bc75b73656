"""A real S3 server for tests, started on a free port of this machine for as long as it is needed."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.tools import VERSITYGW

_START_SECONDS = 30.0


@dataclass(frozen=True)
class S3Server:
    """A running server with one empty bucket."""

    endpoint: str
    bucket: str
    env: dict[str, str]
    """What a process needs in its environment to reach it."""
    folder: Path
    """Where the bucket's objects lie as files."""

    def url(self, key: str = "") -> str:
        return f"s3://{self.bucket}/{key}"


@contextlib.contextmanager
def s3_server(folder: Path, bucket: str = "imagejob-test", port: int | None = None) -> Iterator[S3Server]:
    """Starts a server whose buckets are folders below `folder`, on a free port or the one that is given.

    Raises:
        UnavailableError: The server is not installed and cannot be built.
    """
    program = VERSITYGW.install()
    (folder / bucket).mkdir(parents=True)
    port = port or free_port()
    endpoint = f"http://127.0.0.1:{port}"
    credentials = {"AWS_ACCESS_KEY_ID": "imagejob", "AWS_SECRET_ACCESS_KEY": "imagejob-secret"}
    access, secret = credentials.values()
    command = [str(program), "--port", f"127.0.0.1:{port}", "--access", access, "--secret", secret, "--quiet", "posix", str(folder)]
    log = folder / "versitygw.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _wait_for(port, process, log)
        env = {**credentials, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": endpoint}
        yield S3Server(endpoint, bucket, env, folder / bucket)
    finally:
        process.terminate()
        process.wait(timeout=_START_SECONDS)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the S3 server did not start: {log.read_text(errors='replace')[-2000:]}")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.02)

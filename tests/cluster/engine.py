"""A Docker engine: the one that runs on this machine, or else one of our own, which is gone when the last cluster is.

Our own engine leaves the machine's network as it is: it sets no packet filter rules, forwards nothing and has no default bridge. Containers
get no way out of the machine (images are built on the host's network), and ports are published by Docker's own small proxy.
"""

import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.cache import background_log, cache_root, locked
from tests.cluster.commands import provide, run
from tests.cluster.exceptions import CommandError, StartError, UnavailableError

_LOG = logging.getLogger(__name__)

_RUN: Final = Path("/run/imagejob-engine")
"""Socket and process id of our own engine. Here, because the path of a socket may have no more than 107 characters."""

_OWN_HOST: Final = f"unix://{_RUN}/docker.sock"
_PID_FILE: Final = _RUN / "dockerd.pid"
_PID_OPTION: Final = f"--pidfile={_PID_FILE}"
_PACKAGES: Final = {"dockerd": "docker.io", "iptables": "iptables", "jq": "jq"}
_START_SECONDS: Final = 60
_PID_SECONDS: Final = 5
"""By then it has written its process id, or has ended."""
_STOP_SECONDS: Final = 30
_LOOK_AGAIN_SECONDS: Final = 0.1
_CAP_SYS_RESOURCE: Final = 24


@dataclass(frozen=True)
class Engine:
    """A running Docker engine."""

    host: str | None
    """Address of our own; None stands for the one that the `docker` command talks to by itself."""

    @property
    def env(self) -> dict[str, str]:
        """What programs that use this engine need in their environment."""
        return {} if self.host is None else {"DOCKER_HOST": self.host}

    def docker(self, *arguments: str, stdin: bytes | None = None, timeout: float | None = None) -> str:
        """What ``docker ARGUMENTS`` prints.

        Raises:
            CommandError: It failed.
        """
        return run(["docker", *arguments], stdin=stdin, env=self.env, timeout=timeout)

    def has_image(self, image: str) -> bool:
        """Whether an image of that name is there."""
        return bool(self.docker("image", "ls", "--quiet", image).strip())


@contextmanager
def alone() -> Iterator[None]:
    """One run at a time makes or removes clusters and what they are made of: engine and routes are shared."""
    cache_root().mkdir(parents=True, exist_ok=True)
    who = f"another run that makes or removes a cluster or its images; one in the background writes to {background_log()}"
    with locked(cache_root() / ".clusters.lock", who):
        yield


def find_engine() -> Engine | None:
    """The engine that runs, if one does: our own first, since only clusters of ours live there."""
    if shutil.which("docker") is None:
        return None
    for engine in (Engine(_OWN_HOST), Engine(None)):
        if _answers(engine):
            return engine
    return None


def ensure_engine() -> Engine:
    """The engine that runs, else one of our own, started now.

    Raises:
        UnavailableError: None runs and none can be started; says what is missing.
        StartError: Ours did not come up.
    """
    return find_engine() or _start()


def stop_unused_engine() -> None:
    """Stops our own engine if no container is left in it. Images stay on the disk, for the next time."""
    engine = Engine(_OWN_HOST)
    process = _own_process()
    if process is None or (_answers(engine) and engine.docker("ps", "--all", "--quiet").strip()):
        return
    _LOG.info("stopping the Docker engine")
    os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while _own_process() is not None:
        if time.monotonic() > deadline:
            raise StartError(f"the Docker engine (process {process}) did not end within {_STOP_SECONDS} s; see {_log_file()}")
        time.sleep(_LOOK_AGAIN_SECONDS)
    for mount in Path("/proc/mounts").read_text().splitlines():
        if (place := mount.split()[1]).startswith(f"{_RUN}/"):  # dockerd leaves the host's network namespace mounted
            run(["umount", place])
    shutil.rmtree(_RUN)


def _answers(engine: Engine) -> bool:
    try:
        return bool(engine.docker("version", "--format", "{{.Server.Version}}", timeout=20).strip())
    except CommandError:
        return False


def _own_process() -> int | None:
    """Process id of our own engine, if it lives: another program may have got the number since."""
    try:
        process = int(_PID_FILE.read_text())
        command = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ValueError):
        return None
    return process if _PID_OPTION.encode() in command else None


def _log_file() -> Path:
    return cache_root() / "engine" / "dockerd.log"


def _start() -> Engine:
    if os.geteuid() != 0:
        raise UnavailableError("no Docker engine answers (see `docker version`): start Docker, or run this as root, who can start one")
    provide(_PACKAGES, why="a Docker engine")
    if shutil.which("docker") is None:  # newer Debians package the command apart
        provide({"docker": "docker-cli"}, why="a Docker engine")
    _RUN.mkdir(parents=True, exist_ok=True)
    data = cache_root() / "engine"
    data.mkdir(parents=True, exist_ok=True)
    command = [
        "dockerd",
        f"--host={_OWN_HOST}",
        _PID_OPTION,
        f"--exec-root={_RUN / 'exec'}",
        f"--data-root={data / 'data'}",
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
        "--ip-forward=false",
        "--ip-masq=false",
    ]
    if not _has_sys_resource():
        # A copy: the engine outlives this checkout, perhaps.
        wrapper = shutil.copy2(Path(__file__).with_name("runc-without-sys-resource"), data)
        command += [f"--add-runtime=without-sys-resource={wrapper}", "--default-runtime=without-sys-resource"]
    _LOG.info("starting a Docker engine (its log: %s)", _log_file())
    with _log_file().open("wb") as log:  # it outlives this process, so it is no child of it
        subprocess.run(["setsid", "--fork", *command], cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
    engine = Engine(_OWN_HOST)
    started = time.monotonic()
    while not _answers(engine):
        waited = time.monotonic() - started
        process = _own_process()
        if waited > _START_SECONDS or (process is None and waited > _PID_SECONDS):
            if process is not None:
                os.kill(process, signal.SIGKILL)
            end = _log_file().read_text(errors="replace")[-2000:]
            raise StartError(f"the Docker engine did not start; the end of {_log_file()}:\n{end}")
        time.sleep(_LOOK_AGAIN_SECONDS)
    return engine


def _has_sys_resource() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> _CAP_SYS_RESOURCE & 1)

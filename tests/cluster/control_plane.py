"""A Kubernetes control plane for integration tests: a real API server, ready in seconds, with no nodes and no containers.

It is etcd, kube-apiserver, kube-controller-manager and kube-scheduler as child processes. What it takes from the machine is kept small, so
that any number can run side by side: etcd listens on a socket in a folder of its own, the controller manager and the scheduler do not
listen at all, and the API server's port is held by this process before, while and after the API server listens on it.
"""

import http.client
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster import control_plane_flags as flags
from tests.cluster.certificates import Authority, write_kubeconfig, write_signing_key
from tests.cluster.components.build import install_components
from tests.cluster.exceptions import CommandError, StartError
from tests.cluster.folders import claimed_folder
from tests.cluster.processes import Child, start
from tests.cluster.tools import KWOK

_FOLDER_PREFIX: Final = "imagejob-control-plane-"
_START_SECONDS: Final = 120.0
"""A healthy start takes a few; but the machine may be busy with other tests."""
_LOOK_AGAIN_SECONDS: Final = 0.02
_ADMINISTRATOR: Final = "admin"
_APISERVER: Final = "kube-apiserver"
_STAGES: Final = Path(__file__).with_name("simulated-nodes.yaml")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a test may ask of its control plane."""

    controllers: bool = True
    """Whether the controller manager and the scheduler run, too. Without them nothing acts on an object but who wrote it."""
    apiserver_args: Sequence[str] = ()
    """More arguments for kube-apiserver, such as ``--feature-gates=...``; where a flag holds one value, the last one counts."""
    controller_manager_args: Sequence[str] = ()
    """More arguments for kube-controller-manager."""
    scheduler_args: Sequence[str] = ()
    """More arguments for kube-scheduler."""


class ControlPlane:
    """A running control plane; `run_control_plane` makes it."""

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self.url = f"https://{flags.HOST}:{port}"
        """Of the API server."""
        self.files = flags.Files(folder)
        self._programs = programs
        self._authority = Authority("imagejob-tests")
        self._children: list[Child] = []
        self._port = port
        self._options = Options()

    @property
    def kubeconfig(self) -> Path:
        """Access for a cluster administrator, for kubectl and every client library."""
        return self.files.kubeconfig(_ADMINISTRATOR)

    @property
    def env(self) -> dict[str, str]:
        """The environment of a program that is to reach this control plane and no other."""
        own = {"KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": str(self.files.folder / "cache"), "KUBERC": "off"}
        return {**os.environ, **own}

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """What kubectl prints.

        Raises:
            CommandError: It failed; the message is what it said.
        """
        command = [str(self._programs / "kubectl"), *arguments]
        result = subprocess.run(command, env=self.env, input=stdin, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise CommandError(result.stderr.strip())
        return result.stdout

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """Access as some user, who may do what RBAC lets that user and the groups do."""
        path = self.files.kubeconfig(user)
        write_kubeconfig(
            path, server=self.url, authority=self._authority.certificate, client=self._authority.client(user, groups), name=user
        )
        return path

    def run(self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> Child:
        """Starts a program beside the components: it ends with them, and its log is shown with theirs."""
        child = start(name, command, folder=self.files.folder, log=self.files.logs / f"{name}.log", env=env or self.env)
        self._children.append(child)
        return child

    def simulate_nodes(self) -> Child:
        """Starts kwok, which plays the part of every node's kubelet.

        Every Node becomes ready, and every pod on one runs, without doing anything, until it is deleted or gets an exit code in its
        annotation ``simulated/exit-code``.

        Raises:
            UnavailableError: kwok is not there and cannot be built on this machine.
        """
        arguments = [f"--kubeconfig={self.kubeconfig}", f"--config={_STAGES}", "--manage-all-nodes", "--node-lease-duration-seconds=40"]
        return self.run("kwok", [str(KWOK.install()), *arguments])

    def ends_of_logs(self) -> Iterator[tuple[str, str]]:
        """Name and last lines of the log of each component."""
        for child in self._children:
            yield child.name, child.end_of_log()

    def start(self, options: Options) -> None:
        """Starts the components and waits until they are ready.

        Raises:
            StartError: A component ended, or was not ready in time.
        """
        self._options = options
        self._write_credentials()
        self._component("etcd", *flags.etcd(self.files))
        self.start_apiserver()
        if options.controllers:  # started earlier they would find nothing allowed yet, and come back only seconds later
            self.start_controllers()

    def start_controllers(self) -> None:
        """Starts the controller manager and the scheduler, where `Options` left them out, and waits until they work.

        The garbage collector knows the kinds that are there when it starts; of later ones it learns after half a minute and more.

        Raises:
            StartError: A component ended, or was not ready in time.
        """
        self._component("kube-controller-manager", *flags.controller_manager(self.files), *self._options.controller_manager_args)
        self._component("kube-scheduler", *flags.scheduler(self.files), *self._options.scheduler_args)
        # Until the controller manager has made it, no pod can be created in the namespace.
        self._wait("/api/v1/namespaces/default/serviceaccounts/default", time.monotonic() + _START_SECONDS)

    def kill_apiserver(self) -> None:
        """Kills the API server as a crash would; etcd and the others go on."""
        child = next(child for child in self._children if child.name == _APISERVER)
        self._children.remove(child)
        child.kill()

    def start_apiserver(self) -> None:
        """Starts the API server, again after `kill_apiserver`, and waits until it is ready.

        Raises:
            StartError: It ended, or was not ready in time.
        """
        self._component(_APISERVER, *flags.apiserver(self.files, self._port), *self._options.apiserver_args)
        self._wait("/readyz", time.monotonic() + _START_SECONDS)

    def stop(self) -> None:
        """Kills the components and what was started beside them; nothing they know is of any use afterwards."""
        for child in reversed(self._children):
            child.kill()

    def _write_credentials(self) -> None:
        folder = self.files.credentials
        self.files.logs.mkdir()
        folder.mkdir()
        (folder / "ca.crt").write_bytes(self._authority.certificate)
        self._authority.server(flags.HOST, "localhost", flags.API_SERVICE_ADDRESS, "kubernetes.default.svc").write(folder, "apiserver")
        self._authority.client(_ADMINISTRATOR, ["system:masters"]).write(folder, _ADMINISTRATOR)
        write_signing_key(folder / "service-accounts.key", folder / "service-accounts.pub")
        self.kubeconfig_for(_ADMINISTRATOR, ["system:masters"])
        self.kubeconfig_for("system:kube-controller-manager")
        self.kubeconfig_for("system:kube-scheduler")

    def _component(self, name: str, *arguments: str) -> None:
        self.run(name, [str(self._programs / name), *arguments])

    def _wait(self, path: str, deadline: float) -> None:
        trust = ssl.create_default_context(cadata=self._authority.certificate.decode())
        trust.load_cert_chain(self.files.credentials / f"{_ADMINISTRATOR}.crt", self.files.credentials / f"{_ADMINISTRATOR}.key")
        while not _answers(trust, self._port, path):
            for child in self._children:
                if child.has_ended(within=_LOOK_AGAIN_SECONDS / len(self._children)):
                    raise StartError(
                        f"{child.name} ended with {child.process.returncode}; its log in {self.files.logs} ends with:\n{child.end_of_log()}"
                    )
            if time.monotonic() > deadline:
                ends = "\n\n".join(f"{name}:\n{end}" for name, end in self.ends_of_logs())
                raise StartError(
                    f"{path} did not answer with 200 within {_START_SECONDS:.0f} s; the logs in {self.files.logs} end with:\n{ends}"
                )


@contextmanager
def run_control_plane(options: Options | None = None) -> Iterator[ControlPlane]:
    """A control plane that lives as long as the ``with`` block, and in no case longer than this process.

    Raises:
        UnavailableError: The components are not there and cannot be built on this machine.
        StartError: A component ended, or was not ready in time. The logs stay, in the folder that the message names.
    """
    programs = install_components()
    with claimed_folder(_FOLDER_PREFIX) as claim, _held_port() as port:
        plane = ControlPlane(programs, claim.path, port)
        try:
            plane.start(options or Options())
            yield plane
        except StartError:
            claim.keep(plane.files.logs.name)
            raise
        finally:
            plane.stop()


@contextmanager
def _held_port() -> Iterator[int]:
    """A port that nobody else is given meanwhile, and that a process of this user can listen on if it asks for port sharing.

    The socket never listens, so no connection is ever handed to it.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((flags.HOST, 0))
        yield int(holder.getsockname()[1])


def _answers(trust: ssl.SSLContext, port: int, path: str) -> bool:
    connection = http.client.HTTPSConnection(flags.HOST, port, context=trust, timeout=5)
    with suppress(OSError, http.client.HTTPException):
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.HTTPStatus.OK
        finally:
            connection.close()
    return False

"""A running cluster, as tests see it: its nodes, its images, and kubectl."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.cluster.commands import run
from tests.cluster.components.build import install_components
from tests.cluster.engine import Engine
from tests.cluster.exceptions import ClusterError, CommandError, StartError
from tests.cluster.kind import kind

_LOG = logging.getLogger(__name__)

GPU: Final = "nvidia.com/gpu"
"""The resource that workers advertise."""

_ROLE: Final = "io.x-k8s.kind.role"
_CLUSTER: Final = "io.x-k8s.kind.cluster"
_ANSWER_SECONDS: Final = 10
_LOOK_AGAIN_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Cluster:
    """A cluster that this tool made."""

    name: str
    engine: Engine
    folder: Path
    """Where its files are, and nothing else of it on this machine's disk."""

    @property
    def kubeconfig(self) -> Path:
        """The file that clients find it by; the user's own is never touched."""
        return self.folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """The API server's record of who wrote which Lease (audit-policy.yaml), a line of JSON for each write."""
        return self.folder / "audit" / "log"

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """What ``kubectl ARGUMENTS`` prints.

        Raises:
            CommandError: It failed; carries what it said.
        """
        return run(self.kubectl_command(*arguments), stdin=None if stdin is None else stdin.encode(), timeout=timeout)

    def kubectl_command(self, *arguments: str) -> list[str]:
        """A kubectl command line, for processes that stay."""
        return [str(install_components() / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]

    def get(self, *arguments: str) -> dict[str, Any]:
        """What ``kubectl get ARGUMENTS`` gives, as an object."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "--output=json"))
        return found

    def runs(self) -> bool:
        """Whether it was made completely and all of its containers run."""
        running = self._containers("--filter=status=running")
        return self.kubeconfig.is_file() and bool(running) and running == self.nodes()

    def nodes(self, role: str | None = None) -> list[str]:
        """The names of its nodes, which are those of their containers; of one role, ``control-plane`` or ``worker``, if given."""
        return self._containers(*([f"--filter=label={_ROLE}={role}"] if role else []))

    def wait_until_ready(self, seconds: float) -> None:
        """Waits until every node is Ready and CoreDNS answers.

        Raises:
            StartError: They are not in time; says what is the matter.
        """
        deadline = time.monotonic() + seconds

        def left() -> str:
            return f"--timeout={max(1, deadline - time.monotonic()):.0f}s"

        try:
            self.kubectl("wait", "--for=condition=Ready", "node", *self.nodes(), left(), timeout=seconds)
            self.kubectl("--namespace=kube-system", "rollout", "status", "deployment/coredns", left(), timeout=seconds)
        except CommandError as error:
            what = f"the cluster {self.name} did not become ready within {seconds:.0f} s"
            raise StartError(f"{what}: {error}\n{self._condition()}") from error

    def advertise_gpus(self, count: int) -> None:
        """Lets every worker have so many GPUs, as NVIDIA's device plugin would."""
        for node in self.nodes("worker"):
            self._advertise(node, str(count))

    def load(self, image: str, nodes: Sequence[str] | None = None) -> None:
        """Gives nodes an image of the engine, unless they have it.

        Args:
            image: Its full name, as the engine knows it and pods will name it.
            nodes: All workers, if not given.

        Raises:
            ClusterError: The engine has no such image.
        """
        if not self.engine.has_image(image):
            raise ClusterError(f"Docker has no image {image}: build or pull it first (`docker image ls` lists those it has)")
        lacking = [node for node in nodes or self.nodes("worker") if not self._has_image(node, image)]
        if not lacking:
            return
        _LOG.info("loading %s into %s", image, ", ".join(lacking))
        kind(self.engine, "load", "docker-image", image, f"--name={self.name}", f"--nodes={','.join(lacking)}")

    def stop_node(self, node: str) -> None:
        """Stops a node's container, as a power cut would."""
        self.engine.docker("stop", self._checked(node))

    def start_node(self, node: str, seconds: float = 120) -> None:
        """Starts a stopped node's container again, and waits until the node is Ready with the GPUs that it had.

        Raises:
            StartError: It is not in time.
        """
        before = self.get("node", node)["status"]
        self.engine.docker("start", self._checked(node))
        deadline = time.monotonic() + seconds
        # The API server goes on telling what it heard last; a heartbeat that is new is the kubelet's word.
        while True:
            ready = _ready(self.get("node", node)["status"])
            if ready["status"] == "True" and ready["lastHeartbeatTime"] != _ready(before)["lastHeartbeatTime"]:
                break
            if time.monotonic() > deadline:
                raise StartError(f"{node} was started and is not Ready after {seconds:.0f} s: {ready['message']}")
            time.sleep(_LOOK_AGAIN_SECONDS)
        if GPU in before["capacity"]:
            self._advertise(node, before["capacity"][GPU])

    def _containers(self, *filters: str) -> list[str]:
        return sorted(self.engine.docker("ps", "--all", f"--filter=label={_CLUSTER}={self.name}", *filters, "--format={{.Names}}").split())

    def _has_image(self, node: str, image: str) -> bool:
        return bool(self.engine.docker("exec", node, "ctr", "--namespace=k8s.io", "images", "ls", "--quiet", f"name=={image}").strip())

    def _advertise(self, node: str, gpus: str) -> None:
        # The kubelet would copy the capacity to what can be asked for, but only when it next reports.
        patch = {"status": {"capacity": {GPU: gpus}, "allocatable": {GPU: gpus}}}
        self.kubectl("patch", "node", node, "--subresource=status", "--type=merge", f"--patch={json.dumps(patch)}")

    def _checked(self, node: str) -> str:
        if node not in self.nodes():
            raise ValueError(f"{node} is no node of the cluster {self.name}")
        return node

    def _condition(self) -> str:
        """What a person would look at first when a cluster does not become ready."""
        parts = []
        for question in (("nodes", "--output=wide"), ("pods", "--all-namespaces", "--output=wide"), ("events", "--all-namespaces")):
            try:
                parts.append(self.kubectl("get", *question, timeout=_ANSWER_SECONDS)[-4000:])
            except CommandError as error:
                parts.append(str(error))
        return "\n".join(parts)


def _ready(status: Mapping[str, Any]) -> dict[str, Any]:
    """The condition that says whether a node is Ready."""
    found: dict[str, Any] = next(condition for condition in status["conditions"] if condition["type"] == "Ready")
    return found

"""A node's Leases on a real API server, processes that take their slots, and the recorder that sees every revision."""

import json
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from queue import Queue
from typing import Any, Final

import pytest

from nodelease import LeaseClient
from nodelease.kubernetes.objects import merged, new_lease, read_lease
from nodelease.state import LeaseState
from tests.cluster.control_plane import ControlPlane
from tests.cluster.exceptions import CommandError
from tests.tools.lease_recorder import LeaseRecorder

_WORKER: Final = Path(__file__).with_name("worker.py")
_LINE_SECONDS: Final = 60.0
_numbers = count(1)


class Worker:
    """A process of `worker.py`."""

    def __init__(self, limit: "Limit", name: str, *arguments: str) -> None:
        command = [sys.executable, str(_WORKER), str(limit.plane.kubeconfig), limit.namespace, limit.node, name, *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self._said: Queue[str] = Queue()
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")

    def hear(self) -> dict[str, Any]:
        """The next line."""
        line = self._said.get(timeout=_LINE_SECONDS)
        assert line, "the process ended"
        return json.loads(line)

    def rest(self) -> list[dict[str, Any]]:
        """All that it says until it ends, or was killed."""
        lines = []
        while line := self._said.get(timeout=_LINE_SECONDS):
            lines.append(json.loads(line))
        return lines

    def end(self) -> None:
        """Kill it if it has not ended."""
        self.process.kill()
        self.process.wait()
        self._listening.join()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.put(line)
        self._said.put("")


@dataclass
class Limit:
    """The limit `gpu` of a node, in a namespace of its own."""

    plane: ControlPlane
    namespace: str
    node: str
    node_uid: str
    workers: list[Worker] = field(default_factory=list)
    clients: list[LeaseClient] = field(default_factory=list)

    def make(self, slots: int, seconds: int = 30) -> None:
        """Create its Lease."""
        state = LeaseState(slots=slots, duration_seconds=seconds)
        lease = new_lease("gpu", self.node, node_uid=self.node_uid, namespace=self.namespace, state=state)
        self.plane.kubectl("create", "-f", "-", stdin=json.dumps(lease))

    def delete(self) -> None:
        self.plane.kubectl("delete", "lease", self.node, "-n", self.namespace)

    def annotate(self, *annotations: str) -> None:
        self.plane.kubectl("annotate", "--overwrite", "lease", self.node, "-n", self.namespace, *annotations)

    def change(self, apply: Callable[[LeaseState], LeaseState]) -> None:
        """Do what the operator does."""
        while True:
            lease = json.loads(self.plane.kubectl("get", "lease", self.node, "-n", self.namespace, "-o", "json"))
            try:
                self.plane.kubectl("replace", "-f", "-", stdin=json.dumps(merged(lease, apply(read_lease(lease, "gpu", self.node).state))))
            except CommandError as error:
                assert "the object has been modified" in str(error)  # noqa: PT017  anything else is a failure
            else:
                return

    def state(self) -> LeaseState:
        """What the API server says now."""
        return read_lease(
            json.loads(self.plane.kubectl("get", "lease", self.node, "-n", self.namespace, "-o", "json")), "gpu", self.node
        ).state

    def worker(self, *arguments: str) -> Worker:
        """A process that takes slots."""
        self.workers.append(Worker(self, f"pod-{len(self.workers)}", *arguments))
        return self.workers[-1]

    def client(self, name: str = "tests/client", kubeconfig: Path | None = None) -> LeaseClient:
        """A client in this process."""
        access = kubeconfig or self.plane.kubeconfig
        self.clients.append(LeaseClient.kubernetes(pod=name, node=self.node, namespace=self.namespace, kubeconfig=access))
        return self.clients[-1]

    def recorder(self) -> LeaseRecorder:
        """Sees every revision; who takes slots here is no pod."""
        return LeaseRecorder(self.plane.kubeconfig, self.namespace)

    def close(self) -> None:
        for worker in self.workers:
            worker.end()
        for client in self.clients:
            client.close()


def new_limit(plane: ControlPlane) -> Limit:
    """A limit without a Lease yet, of a node of its own: Leases of nodes that there are not are removed by the controllers."""
    number = next(_numbers)
    namespace, node = f"leases-{number}", f"leases-node-{number}"
    plane.kubectl("create", "namespace", namespace)
    plane.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}))
    return Limit(plane, namespace, node, plane.kubectl("get", "node", node, "-o", "jsonpath={.metadata.uid}"))


@pytest.fixture
def limit(control_plane: ControlPlane) -> Iterator[Limit]:
    made = new_limit(control_plane)
    yield made
    made.close()


def overlaps(lines: Sequence[dict[str, Any]], killed_at: float) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Pairs of uses of one slot of which the later began before the earlier had ended; one without an end was killed."""
    uses: dict[tuple[int, int], dict[str, Any]] = {}
    for line in lines:
        if line["what"] in {"begin", "end"}:
            uses.setdefault((line["slot"], line["fence"]), {"slot": line["slot"], "end": killed_at})[line["what"]] = line["at"]
    by_slot = defaultdict(list)
    for use in sorted(uses.values(), key=lambda use: use["begin"]):
        by_slot[use["slot"]].append(use)
    return [(one, two) for of_slot in by_slot.values() for one, two in pairwise(of_slot) if two["begin"] < one["end"]]

"""What became of objects, and when."""

import json
import subprocess
import threading
import time
from types import TracebackType
from typing import Any, Final, Self

from nodelease.codec import decode
from nodelease.state import LeaseState
from tests.cluster.cluster import Cluster
from tests.e2e.waiting import eventually
from tests.tools.chart import NAMESPACE

Json = dict[str, Any]

_FIRST_SECONDS: Final = 30


class Timeline:
    """Every state of some objects from now on, with the time of day at which it was told; records while it is open.

    Args:
        cluster: Where they are.
        objects: Which, as `kubectl get` takes it.
    """

    def __init__(self, cluster: Cluster, *objects: str) -> None:
        self.seen: list[tuple[float, Json]] = []
        """In the order of their coming; the first are the states at the beginning."""
        self._command = cluster.kubectl_command("get", *objects, "--watch", "--output=jsonpath={}{'\\n'}")

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._process.terminate()
        self._reader.join()
        self._process.communicate()  # is at its end; closes it

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.seen.append((time.time(), json.loads(line)))


class LeaseTimeline(Timeline):
    """Every state of the Lease of a node's GPU."""

    def __init__(self, cluster: Cluster, node: str) -> None:
        super().__init__(cluster, f"--namespace={NAMESPACE}", "leases", f"--field-selector=metadata.name={node}")

    def __enter__(self) -> Self:
        super().__enter__()
        eventually(lambda: bool(self.seen), wanted=True, seconds=_FIRST_SECONDS)
        return self

    @property
    def now(self) -> LeaseState:
        """As it was told last."""
        return decode(self.seen[-1][1])

    def states(self) -> list[tuple[float, LeaseState]]:
        """All of them."""
        return [(at, decode(lease)) for at, lease in list(self.seen)]

"""What became of objects, and when."""

import itertools
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from imagejob_api.imagejob import Phase
from nodelease.codec import decode
from nodelease.state import LeaseState
from tests.cluster.cluster import Cluster
from tests.e2e.waiting import eventually
from tests.tools.chart import NAMESPACE
from tests.tools.following import Following

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


@dataclass(frozen=True)
class Shown:
    """The words of the lines that `kubectl get imagejobs --watch` has printed about the one job of a namespace, its headings first."""

    lines: list[list[str]] = field(default_factory=list)

    @property
    def phases(self) -> list[str]:
        """Its phases, one after the other."""
        words = [line[1] for line in self.lines if line[1] in set(Phase)]
        return [phase for phase, _ in itertools.groupby(words)]

    @property
    def done(self) -> list[int]:
        """The images done by then, line by line."""
        words = [line[2] for line in self.lines if line[1] in set(Phase)]
        return [int(word.partition("/")[0]) for word in words if re.fullmatch(r"\d+/\d+", word)]


@contextmanager
def shown(cluster: Cluster, namespace: str, last: Phase) -> Iterator[Shown]:
    """Runs `kubectl get imagejobs --watch` while it is open; what it printed is there afterwards, up to the phase `last`."""
    told = Shown()
    watching = Following(cluster.kubectl_command(f"--namespace={namespace}", "get", "imagejobs", "--watch"), os.environ)
    try:
        yield told
        watching.line_with(last)
        watching.interrupt(signal.SIGTERM)
        told.lines.extend(line.split() for line in watching.end().out.splitlines())
    finally:
        watching.kill()

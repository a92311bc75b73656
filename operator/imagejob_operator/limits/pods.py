"""Which of the pods that Leases speak of are there.

Pods with the label `imagejob.dev/member` are watched, and one that was seen running is taken to run until an event says otherwise. All
others are asked for. Nobody is taken for gone because a watch or a cache says so: that may be late, and a pod of the same name may have
been made since. Only the API server's answer to a question that was asked *after* the Lease was read says that whoever wrote the entry is
gone. The same goes for processes of a pod that runs, whose container has ended since (`processes`).
"""

import asyncio
import math
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, Protocol, TypeVar

from imagejob_api.pod import LABEL_MEMBER
from imagejob_operator.kubernetes import NotFoundError, RefusedError
from imagejob_operator.kubernetes.kinds import POD, Kind
from imagejob_operator.limits.facts import Json
from imagejob_operator.limits.processes import Ends, container_ends, has_ended
from nodelease.state import Holder, LeaseState, Waiter

HOLDER_SECONDS: Final = 5.0
"""A pod that is not watched and holds a slot is asked for this often: expiry waits six times as long."""
WAITER_SECONDS: Final = 60.0
"""One that waits only blocks others once it is granted a slot."""
MOST_AT_ONCE: Final = 32
"""Pods asked for in one go; the rest of a long list comes a second later."""
REST_SECONDS: Final = 1.0
_REMEMBERED: Final = 4096
_FINISHED: Final = frozenset({"Succeeded", "Failed"})
_POD: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""A pod's name comes from an annotation that pods write, and goes into a URL."""


Value = TypeVar("Value")
Clock = Callable[[], float]
"""Seconds that pass."""


class Reader(Protocol):
    """Reads objects."""

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> dict[str, Any]:
        """One object."""


def pod_name(pod: Json) -> str:
    """`namespace/name`, as in a Lease's entries."""
    metadata = pod["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}"


def node_of(pod: Json) -> str:
    """The node that it runs on; "" if there is none yet."""
    return str((pod.get("spec") or {}).get("nodeName") or "")


def runs(pod: Json) -> bool:
    """Whether any of its processes may still run.

    The phase follows a second after the end of the containers: the kubelet first clears away what they had.
    """
    return (pod.get("status") or {}).get("phase") not in _FINISHED and not _ended_for_good(pod)


def _ended_for_good(pod: Json) -> bool:
    """Whether all containers have ended and none is ever started again."""
    spec = pod.get("spec") or {}
    containers = spec.get("containers") or ()
    if spec.get("restartPolicy") != "Never" or any("restartPolicy" in each for each in (*containers, *(spec.get("initContainers") or ()))):
        return False
    ended = ["terminated" in (each.get("state") or {}) for each in (pod.get("status") or {}).get("containerStatuses") or ()]
    return bool(ended) and len(ended) == len(containers) and all(ended)


class PodPresence:
    """Knows the pods that are there.

    Args:
        api: Where to ask.
        namespaces: Where pods are watched; empty: everywhere.
        clock: Seconds that pass.
    """

    def __init__(self, api: Reader, namespaces: Collection[str], clock: Clock) -> None:
        self.running: dict[str, str] = {}
        """Watched pods that were seen running, and their nodes."""
        self._on: Counter[str] = Counter()
        """How many of them run on each node that has any."""
        self._ends: dict[str, Ends] = {}
        """Of those among them of which containers have ended."""
        self._api = api
        self._namespaces = frozenset(namespaces)
        self._clock = clock
        self._asked: OrderedDict[str, float] = OrderedDict()
        self._ended: OrderedDict[str, int] = OrderedDict()
        self._events = 0

    def any_on(self, node: str) -> bool:
        """Whether any watched pod runs on a node."""
        return node in self._on

    def note(self, name: str, pod: Json | None) -> bool:
        """An event says that a watched pod is like this, or gone (None). Returns whether some of its processes may have ended by it."""
        if pod is not None and runs(pod):
            before = self._ends.get(name, {})
            self._note_running(name, pod)
            return self._ends.get(name, {}) != before
        self._leave(name)
        self._ends.pop(name, None)
        self._events += 1
        _remember(self._ended, name, self._events)
        return True

    def _note_running(self, name: str, pod: Json) -> None:
        self._leave(name)
        self.running[name] = node = node_of(pod)
        self._on[node] += 1
        ends = container_ends(pod)
        if ends:
            self._ends[name] = ends
        else:
            self._ends.pop(name, None)

    def _leave(self, name: str) -> None:
        node = self.running.pop(name, None)
        if node is None:
            return
        self._on[node] -= 1
        if not self._on[node]:
            del self._on[node]

    def doubtful(self, state: LeaseState) -> bool:
        """Whether there are entries whose pods are not known to run, or whose processes seem to have ended."""
        return any(self._in_doubt(entry) for entry in _entries(state))

    def _in_doubt(self, entry: Holder | Waiter) -> bool:
        return entry.pod not in self.running or has_ended(entry.id, self._ends.get(entry.pod, {}))

    async def gone(self, state: LeaseState) -> tuple[set[str], float | None]:
        """Ask for the pods of a Lease that are not known to run, or of which processes seem to have ended.

        Returns:
            The ids of the entries whose pods are gone or finished or whose processes have ended, and after how many seconds to ask again.

        Raises:
            ApiError: The API server cannot say.
        """
        entries = list(_entries(state))
        due: dict[str, float] = {}
        for entry in entries:
            if self._in_doubt(entry) and _POD.fullmatch(entry.pod):  # one that holds a slot may wait for more
                due[entry.pod] = min(due.get(entry.pod, math.inf), self._due(entry))
        now = self._clock()
        ask = [pod for pod, at in due.items() if at <= now][:MOST_AT_ONCE]
        answers = dict(zip(ask, await asyncio.gather(*map(self._look, ask)), strict=True))
        gone = {entry.id for entry in entries if entry.pod in answers and _is_gone(entry.id, answers[entry.pod])}
        left = [self._due(entry) - now for entry in entries if entry.pod in due and entry.id not in gone and self._in_doubt(entry)]
        return gone, max(REST_SECONDS, min(left)) if left else None

    def _due(self, entry: Holder | Waiter) -> float:
        asked = self._asked.get(entry.pod)
        return 0.0 if asked is None else asked + (HOLDER_SECONDS if isinstance(entry, Holder) else WAITER_SECONDS)

    async def _look(self, pod: str) -> Ends | None:
        """When the containers of a pod ended last; None if the pod is gone or finished."""
        namespace, name = pod.split("/")
        events = self._events
        try:
            found = await self._api.get(POD, name, namespace)
        except NotFoundError:
            return None
        except RefusedError:
            _remember(self._asked, pod, self._clock())  # in a namespace that is none of this operator's business
            return {}
        if not runs(found):
            return None
        member = (found["metadata"].get("labels") or {}).get(LABEL_MEMBER) == "true"
        if not member or (self._namespaces and namespace not in self._namespaces):
            _remember(self._asked, pod, self._clock())
        elif self._ended.get(pod, 0) <= events:  # else its end was told while the answer was on its way
            self._note_running(pod, found)
        return container_ends(found)


def _is_gone(request_id: str, ends: Ends | None) -> bool:
    return ends is None or has_ended(request_id, ends)


def _remember(memory: OrderedDict[str, Value], pod: str, value: Value) -> None:
    memory[pod] = value
    memory.move_to_end(pod)
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)


def _entries(state: LeaseState) -> Iterator[Holder | Waiter]:
    yield from state.holders
    yield from state.queue

"""An API server of plain dicts, and the operator's controller in front of it with a queue that a test empties by hand.

Every change becomes events, which wait until the test delivers them: in order for each object, in any order between them, as from watches.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from imagejob_operator.kubernetes import ApiError, KubernetesApi
from imagejob_operator.kubernetes.kinds import LEASE, NODE, NODE_LIMIT, POD, Kind
from imagejob_operator.limits import LimitController
from imagejob_operator.metrics import Metrics
from imagejob_operator.settings import Settings
from imagejob_operator.work_queue import Key
from tests.unit.operator.limits.objects import NAMESPACE, Json

WRITES = {"POST", "PUT", "PATCH", "DELETE"}
Name = tuple[str, str, str]
"""Plural, namespace, name."""


class CrashError(BaseException):
    """The operator's process ends here."""


class Server:
    """What an API server keeps, and what it was asked."""

    def __init__(self) -> None:
        self.objects: dict[Name, Json] = {}
        self.events: dict[Name, deque[tuple[str, Json]]] = {}
        self.requests: list[tuple[str, str]] = []
        self.crash_after_writes: int | None = None
        self.meanwhile: Callable[[], None] = lambda: None
        """What happens while a request is on its way."""
        self._version = 100

    @property
    def writes(self) -> list[tuple[str, str]]:
        return [request for request in self.requests if request[0] in WRITES]

    def put(self, kind: Kind, thing: Json) -> Json:
        """Store an object as it is, and tell."""
        self._version += 1
        stored: Json = json.loads(json.dumps(thing))
        metadata = stored["metadata"]
        name = (kind.plural, metadata.get("namespace", ""), metadata["name"])
        metadata["resourceVersion"] = str(self._version)
        metadata.setdefault("uid", f"uid-{self._version}")
        known = name in self.objects
        self.objects[name] = stored
        self._tell(name, "MODIFIED" if known else "ADDED", stored)
        return stored

    def remove(self, name: Name) -> None:
        """Delete an object, and tell; without a garbage collector."""
        self._version += 1
        gone = self.objects.pop(name)
        gone["metadata"]["resourceVersion"] = str(self._version)
        self._tell(name, "DELETED", gone)

    def get(self, kind: Kind, name: str, namespace: str = "") -> Json | None:
        return self.objects.get((kind.plural, namespace, name))

    def _tell(self, name: Name, event_type: str, thing: Json) -> None:
        self.events.setdefault(name, deque()).append((event_type, json.loads(json.dumps(thing))))

    async def __call__(
        self, method: str, path: str, query: Mapping[str, str], body: Json | None, content_type: str, timeout_seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Answer a request, as `Transport`."""
        del content_type, timeout_seconds
        self.meanwhile()
        if method in WRITES and self.crash_after_writes is not None and len(self.writes) >= self.crash_after_writes:
            raise CrashError
        self.requests.append((method, path))
        status, answer = self._answer(method, path, query, body)
        return status, {}, json.dumps(answer).encode()

    def _answer(self, method: str, path: str, query: Mapping[str, str], body: Json | None) -> tuple[int, Json]:
        name, subresource = _parsed(path, body)
        known = self.objects.get(name)
        if method == "GET" and not name[2]:
            items = [thing for key, thing in self.objects.items() if _matches(key, thing, name, query)]
            return 200, {"metadata": {"resourceVersion": str(self._version)}, "items": items}
        if method == "POST":
            return (409, {"reason": "AlreadyExists"}) if known else (201, self.put(_kind(name), body or {}))
        if known is None:
            return 404, {"reason": "NotFound", "message": path}
        return self._change(method, name, known, body or {}, subresource)

    def _change(self, method: str, name: Name, known: Json, body: Json, subresource: str) -> tuple[int, Json]:
        if _refused(method, known["metadata"], body):
            return 409, {"reason": "Conflict"}
        if method == "DELETE":
            self.remove(name)
        elif method == "PUT":
            known = self.put(_kind(name), body)
        elif method == "PATCH":
            assert subresource == "status"
            known = self.put(_kind(name), {**known, "status": {**known.get("status", {}), **body["status"]}})
        return 200, known


class Operator:
    """A process of the operator."""

    def __init__(self, server: Server, settings: Settings | None = None) -> None:
        self.queue: dict[Key, None] = {}
        self.again: dict[Key, float] = {}
        self.metrics = Metrics()
        self.limits = LimitController(KubernetesApi(server), settings or Settings(namespace=NAMESPACE), self.metrics, self._add)
        self._server = server
        server.events.clear()
        for name, thing in server.objects.items():  # the first list of the watches
            self.deliver(name, None, thing)

    def _add(self, key: Key) -> None:
        self.queue[key] = None

    def deliver(self, name: Name, event_type: str | None, thing: Json) -> None:
        handlers = {
            NODE_LIMIT.plural: self.limits.on_nodelimit,
            NODE.plural: self.limits.on_node,
            LEASE.plural: self.limits.on_lease,
            POD.plural: self.limits.on_pod,
        }
        if name[0] in handlers and (name[0] != POD.plural or thing["metadata"]["labels"]):
            handlers[name[0]](event_type, thing)

    def deliver_one(self, name: Name) -> None:
        self.deliver(name, *self._server.events[name].popleft())
        if not self._server.events[name]:
            del self._server.events[name]

    def deliver_all(self) -> None:
        while self._server.events:
            self.deliver_one(next(iter(self._server.events)))

    async def work(self) -> None:
        """Reconcile what is queued, but deliver nothing."""
        while self.queue:
            await self.work_one(next(iter(self.queue)))

    async def work_one(self, key: Key) -> None:
        del self.queue[key]
        try:
            await self.limits.sync()
            again = await self.limits.reconcile(key)
        except ApiError:
            self.queue[key] = None
            raise
        self.again.pop(key, None)
        if again is not None:
            self.again[key] = again

    async def settle(self) -> None:
        """Deliver and reconcile until nothing is left."""
        self.deliver_all()
        while self.queue or self._server.events:
            await self.work()
            self.deliver_all()


KINDS = {kind.plural: kind for kind in (NODE_LIMIT, NODE, LEASE, POD)}


def _kind(name: Name) -> Kind:
    return KINDS.get(name[0], Kind("Event", "", "v1", name[0]))


def _parsed(path: str, body: Json | None) -> tuple[Name, str]:
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    namespace = ""
    if parts[0] == "namespaces":
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource = (*parts, "", "")[:3]
    if not name and body is not None:
        name = body["metadata"]["name"]
    return (plural, namespace, name), subresource


def _refused(method: str, metadata: Json, body: Json) -> bool:
    if method == "DELETE":
        return body.get("preconditions", {}).get("uid", metadata["uid"]) != metadata["uid"]
    return method == "PUT" and body["metadata"]["resourceVersion"] != metadata["resourceVersion"]


def _matches(key: Name, thing: dict[str, Any], asked: Name, query: Mapping[str, str]) -> bool:
    labels = thing["metadata"].get("labels") or {}
    selector = dict(part.split("=") for part in query.get("labelSelector", "").split(",") if part)
    if key[0] != asked[0] or (asked[1] and key[1] != asked[1]) or not selector.items() <= labels.items():
        return False
    excluded = [part.split("!=")[1] for part in query.get("fieldSelector", "").split(",") if part]
    return (thing.get("status") or {}).get("phase") not in excluded

"""An API server that fails on demand, which a real one does not: one Lease, its versions and watches, and a fault for any request."""

import asyncio
import copy
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from nodelease.kubernetes.access import Credentials, PodAccess
from nodelease.kubernetes.objects import new_lease
from nodelease.state import LeaseState
from tests.cluster.certificates import Authority

NAMESPACE: Final = "leases"
NODE: Final = "worker"
LIMIT: Final = "gpu"
_PATH: Final = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"


@dataclass(frozen=True)
class Fault:
    """What happens to one request in place of an answer."""

    status: int = 0
    """Of the answer; 0: none, the connection breaks."""
    headers: dict[str, str] = field(default_factory=dict)
    body: str = json.dumps({"kind": "Status", "message": "as the test wants it"})
    done: bool = False
    """Whether the request is carried out nevertheless."""
    never: bool = False
    """There is no answer, and the connection stays."""


class ApiServer:
    """The server. A test changes it directly."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 100
        self.remembers_since = 0
        """Watches from an older version are refused."""
        self.history: list[tuple[str, dict[str, Any]]] = []
        self.faults: Callable[[str], Fault | None] = lambda _method: None
        """Asked about each request, "WATCH" among the methods."""
        self.token = "first"  # noqa: S105  no secret
        self.requests: list[tuple[str, dict[str, str]]] = []
        """Method and parameters of each."""
        self.url = ""
        self._break_at = 0
        self._changed = asyncio.Event()
        self._broken = asyncio.Event()
        self._ending = asyncio.Event()

    # What a test does to it.

    def make(self, state: LeaseState, **metadata: Any) -> None:  # noqa: ANN401  JSON
        """Create the Lease."""
        self.lease = new_lease(LIMIT, NODE, node_uid="node-uid", namespace=NAMESPACE, state=state)
        self.lease["metadata"] |= {"uid": f"uid-{self.version}", "managedFields": [{"manager": "operator"}], **metadata}
        self._commit("ADDED", self.lease)

    def change(self, lease: dict[str, Any]) -> None:
        """Write the Lease, whatever it says."""
        self.lease = lease
        self._commit("MODIFIED", lease)

    def delete(self) -> None:
        """Delete the Lease."""
        gone, self.lease = self.lease, None
        assert gone is not None
        self._commit("DELETED", copy.deepcopy(gone))

    def report(self, kind: str, thing: dict[str, Any]) -> None:
        """Send an event to those who watch, as it is."""
        self.history.append((kind, thing))
        self._changed.set()

    def break_watches(self) -> None:
        """End all watches without a word, after what has happened so far."""
        self._break_at = len(self.history)
        self._broken.set()

    def forget(self) -> None:
        """Remember no version before the newest, and let nobody watch from there."""
        self.version += 1
        self.remembers_since = self.version

    def count(self, method: str) -> int:
        """How many requests there were."""
        return sum(kind == method for kind, _ in self.requests)

    # What it does.

    def _commit(self, kind: str, lease: dict[str, Any]) -> None:
        self.version += 1
        lease["metadata"]["resourceVersion"] = str(self.version)
        self.report(kind, copy.deepcopy(lease))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        method = "WATCH" if "watch" in request.query else request.method
        self.requests.append((method, dict(request.query)))
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return _status(401, "Unauthorized")
        fault = self.faults(method)
        if fault is None:
            return await self._watch(request) if method == "WATCH" else await self._do(request)
        if fault.done:
            await self._do(request)
        if fault.never:
            await self._ending.wait()
        if fault.status == 0 and request.transport is not None:
            request.transport.abort()
        return web.Response(status=fault.status or 500, headers=fault.headers, text=fault.body)

    async def _do(self, request: web.Request) -> web.Response:
        if self.lease is None or request.path != f"{_PATH}/{self.lease['metadata']['name']}":
            return _status(404, "not found")
        if request.method == "PUT":
            body = await request.json()
            if self.lease is None or body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
                return _status(409, "the object has been modified")
            self.change(body | {"metadata": body["metadata"] | {"managedFields": [{"manager": request.query["fieldManager"]}]}})
        return web.json_response(self.lease)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        version = int(request.query.get("resourceVersion", 0))
        if version and version < self.remembers_since:
            return _status(410, "too old resource version")
        response = web.StreamResponse()
        with suppress(ConnectionError):  # who watched has left
            await response.prepare(request)
            await self._stream(response, version, bookmark="sendInitialEvents" in request.query)
        return response

    async def _stream(self, response: web.StreamResponse, version: int, *, bookmark: bool) -> None:
        if not version and self.lease is not None:
            await _send(response, "ADDED", self.lease)
        if bookmark:
            await _send(response, "BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})
        sent = len(self.history) if not version else sum(_version(thing) <= version for _, thing in self.history)
        self._broken.clear()
        while not self._ending.is_set():
            due = self.history[sent : self._break_at] if self._broken.is_set() else self.history[sent:]
            sent += len(due)
            self._changed.clear()
            for kind, thing in due:
                await _send(response, kind, thing)
            if self._broken.is_set():
                break
            waits = [asyncio.ensure_future(event.wait()) for event in (self._changed, self._broken, self._ending)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    @asynccontextmanager
    async def serve(self, trust: ssl.SSLContext | None = None) -> AsyncIterator["ApiServer"]:
        """Listen."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(application, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=trust)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"{'http' if trust is None else 'https'}://{host}:{port}"
        try:
            yield self
        finally:
            self._ending.set()
            await runner.cleanup()


class Door:
    """The access of those who have a token that is good at first."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self.token = "first"  # noqa: S105  no secret
        self.renewals = 0

    async def credentials(self, *, renewed: bool = False) -> Credentials:
        """See `Access.credentials`: renewed is the token that the server wants by then."""
        if renewed:
            self.renewals += 1
            self.token = self.server.token
        return Credentials(self.server.url, authorization=f"Bearer {self.token}")


class Pod:
    """What a pod is given, with an API server whose certificate the pod trusts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "token").write_text("first\n")
        self.server_trust = self.certify()

    def certify(self) -> ssl.SSLContext:
        """A new authority that the pod is told of; what its server shows."""
        authority = Authority("pod-tests")
        (self.folder / "ca.crt").write_bytes(authority.certificate)
        authority.server("127.0.0.1").write(self.folder, "server")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.folder / "server.crt", self.folder / "server.key")
        return context

    def access(self, server: ApiServer) -> PodAccess:
        host, port = server.url.removeprefix("https://").split(":")
        return PodAccess(self.folder, {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port})

    def move(self, access: PodAccess, server: ApiServer) -> None:
        """From now on the API server is this one, and what was trusted before still is until somebody is refused."""
        access._environment = self.access(server)._environment
        access._credentials = None if access._credentials is None else access._read(trust=access._credentials.trust)


def once(method: str, fault: Fault, times: int = 1) -> Callable[[str], Fault | None]:
    """Faults for the first requests of a method."""
    left = [times]

    def faults(asked: str) -> Fault | None:
        if asked == method and left[0] > 0:
            left[0] -= 1
            return fault
        return None

    return faults


def _version(thing: dict[str, Any]) -> int:
    return int(thing.get("metadata", {}).get("resourceVersion", 0))


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)


async def _send(response: web.StreamResponse, kind: str, thing: dict[str, Any]) -> None:
    await response.write(json.dumps({"type": kind, "object": thing}).encode() + b"\n")

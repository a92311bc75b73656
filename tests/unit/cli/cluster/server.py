"""An API server of a few lines: it keeps objects of one kind, counts what it is asked, and fails when it is told to."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from imagejob_cli.cluster.kubeconfig import Target

Json = dict[str, Any]
_GOOD = "good"


@dataclass
class Server:
    """What it keeps, and how it behaves."""

    folder: Path
    objects: dict[str, Json] = field(default_factory=dict)
    version: int = 10
    asked: Counter[str] = field(default_factory=Counter)
    """Requests, by list, watch and so on."""
    failures: list[int] = field(default_factory=list)
    """HTTP codes of the next answers."""
    watches: list[asyncio.Queue[Json | None]] = field(default_factory=list)
    """The open ones; None ends one."""
    resumed_from: list[str] = field(default_factory=list)
    """resourceVersion of each watch."""
    token: str = _GOOD
    """The only one that is accepted."""
    log: list[list[str] | int] = field(default_factory=list)
    """Lines of each reading of a log, or the HTTP code that it fails with."""
    log_queries: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def put(self, name: str, **spec: object) -> None:
        """Writes an object, and tells the watches."""
        kind = "MODIFIED" if name in self.objects else "ADDED"
        self.version += 1
        self.objects[name] = {"metadata": {"name": name, "namespace": "team", "resourceVersion": str(self.version)}, "spec": spec}
        self.tell(kind, self.objects[name])

    def remove(self, name: str) -> None:
        """Deletes one."""
        self.version += 1
        gone = self.objects.pop(name)
        gone["metadata"]["resourceVersion"] = str(self.version)
        self.tell("DELETED", gone)

    def tell(self, kind: str, found: Json) -> None:
        """Sends an event to all watches."""
        for watch in self.watches:
            watch.put_nowait({"type": kind, "object": found})

    def end_watches(self) -> None:
        """As an API server does after some minutes, or when it ends."""
        for watch in self.watches:
            watch.put_nowait(None)
        self.watches.clear()

    @property
    def target(self) -> Target:
        """How to reach it."""
        file = self.folder / "kubeconfig"
        self.write_kubeconfig(self.token)
        return Target((file,), "test", "team")

    def write_kubeconfig(self, token: str) -> None:
        """The kubeconfig's credentials."""
        content = {
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "test",
        }
        (self.folder / "kubeconfig").write_text(json.dumps(content))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers."""
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            self.asked["refused"] += 1
            return _status(401, "Unauthorized")
        if self.failures:
            self.asked["failed"] += 1
            return _status(self.failures.pop(0), "not now")
        if request.path.endswith("/log"):
            self.log_queries.append(dict(request.query))
            found = self.log.pop(0)
            if isinstance(found, int):
                return _status(found, "the node is away")
            return web.Response(text="".join(line + "\n" for line in found))
        if "watch" in request.query:
            return await self._watch(request)
        self.asked["list"] += 1
        return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": list(self.objects.values())})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        self.asked["watch"] += 1
        self.resumed_from.append(request.query["resourceVersion"])
        queue: asyncio.Queue[Json | None] = asyncio.Queue()
        self.watches.append(queue)
        response = web.StreamResponse()
        await response.prepare(request)
        while (event := await queue.get()) is not None:
            await response.write(json.dumps(event).encode() + b"\n")
        return response


@asynccontextmanager
async def running_server(folder: Path) -> AsyncIterator[Server]:
    """A server of one test."""
    server = Server(folder)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    async with TestServer(application) as running:
        server.url = str(running.make_url("")).rstrip("/")
        yield server
        server.end_watches()


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)

"""The operator's part that keeps limits, in this process, on a real API server; and what happens to nodes and pods there."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from imagejob_api.pod import LABEL_MEMBER
from imagejob_operator.kubernetes import ApiError, ConflictError, KubernetesApi, NotFoundError, RefusedError
from imagejob_operator.kubernetes.connection import Connection, connect
from imagejob_operator.kubernetes.kinds import LEASE, NODE, NODE_LIMIT, POD
from imagejob_operator.kubernetes.watching import follow
from imagejob_operator.limits import LimitController
from imagejob_operator.manifest import Json
from imagejob_operator.metrics import Metrics
from imagejob_operator.settings import Settings
from imagejob_operator.work_queue import WorkQueue
from nodelease import LeaseState, Waiter, transitions
from nodelease.kubernetes.names import LABEL_MANAGED_BY, MANAGED_BY, lease_name
from nodelease.kubernetes.objects import merged, read_lease

DEADLINE_SECONDS = 60.0
WRITES = ("POST", "PUT", "PATCH", "DELETE")


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> float:
    """Wait for a condition; returns the seconds that took."""
    started = time.monotonic()
    while not await condition():
        assert time.monotonic() - started < DEADLINE_SECONDS, what
        await asyncio.sleep(0.01)
    return time.monotonic() - started


class Operator:
    """The limits' controller with its queue and its watches."""

    def __init__(self, connection: Connection, requests: list[tuple[str, str]], namespace: str) -> None:
        self.requests = requests
        self.reports: list[tuple[float, str, str | None, Json]] = []
        """When which events came: time, kind, type, object."""
        self._connection = connection
        self._namespace = namespace
        self.queue = WorkQueue(self._reconcile, workers=8, urgent={LEASE.kind})
        self.limits = LimitController(connection.api, Settings(namespace=namespace, status_seconds=1), Metrics(), self.queue.add)

    @property
    def writes(self) -> list[tuple[str, str]]:
        return [request for request in self.requests if request[0] in WRITES]

    async def _reconcile(self, key: tuple[str, ...]) -> float | None:
        await self.limits.sync()
        return await self.limits.reconcile(key)

    async def run(self) -> None:
        limits = self.limits
        watches = (
            (NODE_LIMIT, "", "", limits.on_nodelimit),
            (NODE, "", "", limits.on_node),
            (POD, "", f"{LABEL_MEMBER}=true", limits.on_pod),
            (LEASE, self._namespace, f"{LABEL_MANAGED_BY}={MANAGED_BY}", limits.on_lease),
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.queue.run())
            for kind, namespace, selector, report in watches:
                reporting = self._noting(kind.kind, report)
                tasks.create_task(follow(self._connection.api, self._connection.stream, kind, namespace, selector, reporting))

    def _noting(self, kind: str, report: Callable[[str | None, Json], None]) -> Callable[[str | None, Json], None]:
        def noted(event_type: str | None, thing: Json) -> None:
            self.reports.append((time.monotonic(), kind, event_type, thing))
            report(event_type, thing)

        return noted


@asynccontextmanager
async def operator(namespace: str) -> AsyncIterator[Operator]:
    """An operator for the Leases in a namespace, from the moment when it has listed everything."""
    requests: list[tuple[str, str]] = []
    connection = await connect(asked=lambda method, path: requests.append((method, path)))
    running = Operator(connection, requests, namespace)
    task = asyncio.create_task(running.run())
    try:
        await running.limits.sync()
        yield running
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await connection.api.close()


class Cluster:
    """What others do to the cluster."""

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self.made: list[tuple[Any, str]] = []

    def node_name(self, number: int) -> str:
        return f"{self.namespace}-{number}"

    async def add_node(self, number: int, labels: dict[str, str] | None = None) -> str:
        """A node of this test's own."""
        name = self.node_name(number)
        metadata = {"name": name, "labels": {"test": self.namespace, **(labels or {})}}
        await self.api.create(NODE, {"apiVersion": "v1", "kind": "Node", "metadata": metadata})
        self.made.append((NODE, name))
        return name

    async def set_limit(self, name: str, **spec: object) -> None:
        """A NodeLimit for the test's own nodes."""
        wanted = {"nodeSelector": {"test": self.namespace}, **spec}
        body = {"apiVersion": NODE_LIMIT.api_version, "kind": "NodeLimit", "metadata": {"name": name}, "spec": wanted}
        try:
            await self.api.patch(NODE_LIMIT, name, None, {"spec": wanted})
        except NotFoundError:
            await self.api.create(NODE_LIMIT, body)
            self.made.append((NODE_LIMIT, name))

    async def add_pod(self, name: str, node: str, *, member: bool = True) -> str:
        """A pod that runs on a node, as far as the API server knows."""
        metadata = {"name": name, "namespace": self.namespace, "labels": {LABEL_MEMBER: "true"} if member else {}}
        spec = {"nodeName": node, "containers": [{"name": "c", "image": "none"}], "tolerations": [{"operator": "Exists"}]}

        async def made() -> bool:
            try:
                await self.api.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
            except RefusedError:  # the namespace's service account is not there yet
                return False
            return True

        await until(made, f"{name} is refused")
        await self.api.patch(POD, name, self.namespace, {"status": {"phase": "Running"}}, subresource="status")
        return f"{self.namespace}/{name}"

    async def end_pod(self, name: str, phase: str = "") -> None:
        """The pod finishes with a phase, or is deleted."""
        if phase:
            await self.api.patch(POD, name, self.namespace, {"status": {"phase": phase}}, subresource="status")
        else:
            await self.api.delete(POD, name, self.namespace, grace_seconds=0)

    async def lease(self, limit: str, node: str) -> Json | None:
        try:
            return await self.api.get(LEASE, lease_name(limit, node), self.namespace)
        except NotFoundError:
            return None

    async def state(self, limit: str, node: str) -> LeaseState:
        lease = await self.lease(limit, node)
        assert lease is not None
        return read_lease(lease, limit, node).state

    async def request(self, limit: str, node: str, pod: str) -> None:
        """What a pod does that then dies: it asks for a slot."""

        async def asked() -> bool:
            lease = await self.lease(limit, node)
            assert lease is not None
            after = transitions.request(read_lease(lease, limit, node).state, Waiter(f"{pod}#1", pod))
            try:
                await self.api.replace(LEASE, merged(lease, after))
            except ConflictError:
                return False
            return True

        await until(asked, "the Lease changes too fast")

    async def clean_up(self) -> None:
        for kind, name in self.made:
            with suppress(ApiError):
                await self.api.delete(kind, name)

"""Sees every revision of every Lease of a namespace, and judges them.

    with LeaseRecorder(kubeconfig, "imagejob-system") as recorder:
        ...
        recorder.check()

It watches on from the version that it has heard of last, so it misses none, but where the API server has forgotten that version: one that
was started anew remembers nothing. That is a gap, and is counted.
"""

import asyncio
import json
import threading
import time
from collections.abc import Collection, Coroutine, Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from nodelease.exceptions import StoreUnavailableError
from nodelease.kubernetes.access import KubeconfigAccess
from nodelease.kubernetes.api import ApiError, ApiServer
from nodelease.kubernetes.names import LABEL_LIMIT, LABEL_NODE
from tests.tools.lease_judge import LeaseJudge

T = TypeVar("T")

_OURS: Final = {"labelSelector": LABEL_LIMIT}
_BOOKMARKS: Final = {"allowWatchBookmarks": "true"}
"""While no Lease changes they tell the newest version: an old one would be forgotten by the time it is needed."""
_PODS: Final = "/api/v1/pods"
_NODE_OF_TOKEN: Final = "authentication.kubernetes.io/node-name"  # noqa: S105  a name
_DEADLINE_SECONDS: Final = 60.0
_LOOK_AGAIN_SECONDS: Final = 0.05
_GOODBYE_SECONDS: Final = 0.25
"""What aiohttp asks for between the last close and the end of the loop: TLS connections are closed in the background."""


class LeaseRecorder:
    """Records while it is open.

    Args:
        kubeconfig: Access that may list and watch Leases in the namespace and pods everywhere.
        namespace: Where the Leases are.
        spoilt: Names of Leases that a test spoils on purpose.
        unqueued_priority: See `LeaseJudge`.
    """

    def __init__(self, kubeconfig: Path, namespace: str, spoilt: Collection[str] = (), unqueued_priority: int | None = 0) -> None:
        self.judge = LeaseJudge(unqueued_priority)
        self.gaps = 0
        """How often revisions may have been missed."""
        self.gaps_allowed = 0
        """How many of them tests have brought about."""
        self._leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._api = ApiServer(KubeconfigAccess(kubeconfig), "The recorder needs a kubeconfig that may list and watch Leases and pods")
        self._namespace = namespace
        self._spoilt = spoilt
        self._pods: dict[str, str] = {}
        self._nodes: dict[str, str] = {}
        self._versions: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lease-recorder", daemon=True)
        self._tasks: list[asyncio.Task[None]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def check(self, *, audit_log: Path | None = None, operators: Collection[str] = (), pods_known: bool = True) -> None:
        """Fail unless all is well with every revision that there is by now.

        Args:
            audit_log: The API server's: its entries say from which node each write came.
            operators: Names of users who may write the Leases of any node.
            pods_known: Whether all who hold and wait are pods of the cluster. Then each must be on the node of its Lease.
        """
        problems = [*self._caught_up().problems]
        if pods_known:
            self._run(self._list_pods())
            problems += foreign_members(self.judge.members, self._pods)
        if audit_log is not None:
            problems += foreign_writes(audit_log.read_text().splitlines(), self._namespace, self._nodes, operators)
        assert not problems, "\n".join(problems[:50])

    def revisions(self, lease: str) -> int:
        """How many revisions of a Lease there have been since this was opened, or since it was made; the first one counts."""
        track = self._caught_up().tracks.get(lease)
        return track.revisions if track is not None else 0

    def _caught_up(self) -> LeaseJudge:
        """The judge, once it has seen all that the API server has."""
        newest = self._run(self._list())
        deadline = time.monotonic() + _DEADLINE_SECONDS
        for item in newest["items"]:
            metadata = item["metadata"]
            while self._versions.get(metadata["name"], 0) < int(metadata["resourceVersion"]):
                assert time.monotonic() < deadline, f"the recorder has not seen Lease {metadata['name']} at {metadata['resourceVersion']}"
                time.sleep(_LOOK_AGAIN_SECONDS)
        return self.judge

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(2 * _DEADLINE_SECONDS)

    async def _open(self) -> None:
        listed = await self._list()
        for lease in listed["items"]:
            self._take(lease, after_gap=False)
        self._tasks = [
            asyncio.create_task(self._follow_leases(listed["metadata"]["resourceVersion"])),
            asyncio.create_task(self._follow_pods()),
        ]

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._api.close()
        await asyncio.sleep(_GOODBYE_SECONDS)

    async def _list(self) -> dict[str, Any]:
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while True:
            try:
                return await self._api.request("GET", self._leases, _OURS)
            except StoreUnavailableError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _follow_leases(self, version: str) -> None:
        while True:
            try:
                async with self._api.events(self._leases, _OURS | _BOOKMARKS | {"resourceVersion": version}) as events:
                    async for event in events:
                        version = event["object"]["metadata"]["resourceVersion"]
                        if event["type"] == "DELETED":
                            self.judge.deleted(event["object"])
                        elif event["type"] != "BOOKMARK":
                            self._take(event["object"], after_gap=False)
            except StoreUnavailableError as error:
                if isinstance(error, ApiError) and error.status == HTTPStatus.GONE:
                    version = await self._across_gap()
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _across_gap(self) -> str:
        self.gaps += 1
        listed = await self._list()
        for lease in listed["items"]:
            if self._versions.get(lease["metadata"]["name"]) != int(lease["metadata"]["resourceVersion"]):
                self._take(lease, after_gap=True)
        return str(listed["metadata"]["resourceVersion"])

    def _take(self, lease: Mapping[str, Any], *, after_gap: bool) -> None:
        metadata = lease["metadata"]
        if metadata["name"] not in self._spoilt:
            self.judge.revision(lease, after_gap=after_gap)
        self._nodes[metadata["name"]] = metadata["labels"].get(LABEL_NODE, "")
        self._versions[metadata["name"]] = int(metadata["resourceVersion"])

    async def _follow_pods(self) -> None:
        while True:
            with suppress(StoreUnavailableError):
                async with self._api.events(_PODS, {}) as events:
                    async for event in events:
                        self._learn(event["object"])
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _list_pods(self) -> None:
        for pod in (await self._api.request("GET", _PODS))["items"]:
            self._learn(pod)

    def _learn(self, pod: Mapping[str, Any]) -> None:
        metadata, node = pod["metadata"], pod["spec"].get("nodeName")
        if node:
            self._pods[f"{metadata['namespace']}/{metadata['name']}"] = node


def foreign_members(members: Collection[tuple[str, str]], pods: Mapping[str, str]) -> list[str]:
    """Those who held or waited on a node that their pod is not on.

    Args:
        members: Node of the Lease, and pod.
        pods: The node of each pod that there has been.
    """
    return [f"{pod} of node {pods.get(pod)} took part in a limit of node {node}" for node, pod in sorted(members) if pods.get(pod) != node]


def foreign_writes(audit_log: Collection[str], namespace: str, nodes: Mapping[str, str], operators: Collection[str]) -> list[str]:
    """Writes to Leases that the API server took from another node.

    Args:
        audit_log: Lines of the API server's audit log.
        namespace: Where the Leases are.
        nodes: The node of each Lease, by its name.
        operators: Names of users who may write all of them.
    """
    problems = []
    for event in map(json.loads, audit_log):
        what, user = event.get("objectRef", {}), event.get("user", {})
        taken = event.get("stage") == "ResponseComplete" and event.get("responseStatus", {}).get("code", 0) < HTTPStatus.MULTIPLE_CHOICES
        written = event.get("verb") in {"create", "update", "patch", "delete"}
        ours = (what.get("resource"), what.get("namespace")) == ("leases", namespace) and what.get("name") in nodes
        if not (taken and written and ours) or user.get("username") in operators:
            continue
        sources = user.get("extra", {}).get(_NODE_OF_TOKEN, [])
        if sources != [nodes[what["name"]]]:
            problems.append(f"{user.get('username')} on {sources or 'no node'} wrote Lease {what['name']} of {nodes[what['name']]}")
    return problems

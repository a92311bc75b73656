"""How long a write of a Lease takes until a watch hears of it: what a hand-over between two pods costs at the least, here and now.

    with WriteToWatch(kubeconfig, namespace) as bare:
        ...
    bare.seconds

All the while the Lease of limit LIMIT on node NODE is written and watched.
"""

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from nodelease.clock import now
from nodelease.kubernetes.access import KubeconfigAccess
from nodelease.kubernetes.objects import new_lease
from nodelease.kubernetes.store import KubernetesStore
from nodelease.state import LeaseState

LIMIT: Final = "bare"
NODE: Final = "no-node"
_PATIENCE_SECONDS: Final = 60.0


class WriteToWatch:
    """Measures while it is open, in a thread of its own.

    Args:
        kubeconfig: Access that may change and watch Leases in the namespace.
        namespace: Where the Lease is, that of `lease`.
        pause: Seconds between two writes.
    """

    def __init__(self, kubeconfig: Path, namespace: str, pause: float = 0.1) -> None:
        self.seconds: list[float] = []
        """From the beginning of each write until the watch brought it."""
        self._kubeconfig, self._namespace, self._pause = kubeconfig, namespace, pause
        self._ending = threading.Event()
        self._executor = ThreadPoolExecutor(1, "write-to-watch")
        self._measuring: Future[None] = Future()

    @staticmethod
    def lease(namespace: str) -> dict[str, Any]:
        """The Lease, to be created before."""
        lease = new_lease(LIMIT, NODE, node_uid="none", namespace=namespace, state=LeaseState(slots=1))
        del lease["metadata"]["ownerReferences"]  # there is no such Node, and what it owns would be collected
        return lease

    def __enter__(self) -> Self:
        self._measuring = self._executor.submit(lambda: asyncio.run(self._measure()))
        self.wait_for(1)
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._ending.set()
        self._executor.shutdown()
        self._measuring.result()

    def wait_for(self, writes: int) -> None:
        """Return when so many have been measured."""
        while len(self.seconds) < writes and not self._measuring.done():
            wait({self._measuring}, timeout=self._pause)

    async def _measure(self) -> None:
        store = KubernetesStore(KubeconfigAccess(self._kubeconfig), self._namespace, NODE)
        watch = store.watch(LIMIT)
        try:
            first = await anext(watch)
            snapshot = first.snapshot
            if snapshot is None:
                raise RuntimeError(first.problem)
            while not self._ending.is_set():
                began = now()
                state = replace(snapshot.state, transitions=snapshot.state.transitions + 1)
                writing = asyncio.ensure_future(store.replace(LIMIT, state, snapshot.version))
                heard = await asyncio.wait_for(anext(watch), _PATIENCE_SECONDS)
                self.seconds.append(now() - began)
                snapshot = await writing
                if heard.snapshot != snapshot:
                    raise RuntimeError(f"the watch brought {heard}, and {snapshot} was written")
                await asyncio.sleep(self._pause)
        finally:
            await store.close()

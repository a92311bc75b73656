"""A process's part in the limits of its node: `LeaseClient`.

One background thread with its own event loop owns the connection to the store, the watches and the renewals, so that a busy event loop of
the caller cannot let a lease run out, and so that threads and any number of event loops share one connection.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeVar

from nodelease import transitions
from nodelease.bounds import UNBOUNDED, Bounds
from nodelease.claim import Claim
from nodelease.clock import now
from nodelease.constants import CLOSE_TIMEOUT_SECONDS, DEFAULT_DURATION_SECONDS, LIMIT_NAME, MOST_POD
from nodelease.exceptions import ClientClosedError, ConflictError, InvalidRequestError
from nodelease.holding import Holding
from nodelease.identity import new_prefix
from nodelease.local.directory import local_directory
from nodelease.local.store import LocalStore
from nodelease.session import LimitSession
from nodelease.state import LeaseState
from nodelease.store import LeaseStore
from nodelease.writer import Counters

T = TypeVar("T")


class LeaseClient:
    """Acquires slots of this node's limits, for one process.

    Make it after a fork, never before: threads and connections do not survive one. Any thread may use it. It starts its thread and
    connects when it is first used. If the process dies without `close`, the store notices.

    Args:
        store: Makes the store, in the client's own event loop; told the prefix that all ids of this client have.
        pod: Who this is, for people and for the reaper: `namespace/name`.
        container: In which of the pod's containers, for the reaper. Needed only in pods of several that may be started again.
    """

    def __init__(self, store: Callable[[str], LeaseStore], pod: str, container: str = "") -> None:
        if not pod or "," in pod or len(pod) > MOST_POD:
            raise InvalidRequestError(f"pod must be a name without commas of at most {MOST_POD} characters, and is {pod!r:.400}")
        self.pod = pod
        self._make_store = store
        self._prefix = new_prefix(container)
        self._numbers = count(1)
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._store: LeaseStore | None = None
        self._sessions: dict[str, LimitSession] = {}

    @classmethod
    def local(cls, pod: str, directory: Path | None = None) -> Self:
        """A client of this machine's own store, which is started when there is none.

        Args:
            pod: Who this is: `namespace/name`, or any name that tells people.
            directory: Where the store lives; processes that share limits share it. Default: $IMAGEJOB_RUNTIME_DIR, else
                $XDG_RUNTIME_DIR/imagejob, else /tmp/imagejob-UID.

        Raises:
            LocalDirectoryError: The directory cannot be used.
        """
        path = local_directory(directory)
        return cls(lambda prefix: LocalStore(path, pod, prefix), pod)

    @classmethod
    def kubernetes(
        cls, *, pod: str | None = None, node: str | None = None, namespace: str | None = None, kubeconfig: Path | None = None
    ) -> Self:
        """A client of a cluster, for the limits of one node. In a pod that was set up for it nothing need be given.

        Args:
            pod: Who this is: `namespace/name` of a pod that exists, for the slots of others are taken away. Default: as
                $IMAGEJOB_POD_NAMESPACE and $IMAGEJOB_POD_NAME say.
            node: The node whose limits are meant: the pod's own, since the cluster refuses to change another's. Default:
                $IMAGEJOB_NODE_NAME.
            namespace: Where the Leases are: the operator's namespace. Default: $IMAGEJOB_LEASE_NAMESPACE.
            kubeconfig: How to reach the cluster. Default: by the pod's service account, outside of pods as kubectl does.

        Raises:
            InvalidRequestError: Something is not given and not in the environment, or cannot be meant.
        """
        from nodelease.kubernetes import environment  # noqa: PLC0415  only here is an HTTP client needed, which takes 0.2 s to import
        from nodelease.kubernetes.access import find_access  # noqa: PLC0415
        from nodelease.kubernetes.names import ENV_LEASE_NAMESPACE, ENV_NODE, lease_name  # noqa: PLC0415
        from nodelease.kubernetes.store import KubernetesStore  # noqa: PLC0415

        node = node or environment.told(ENV_NODE, os.environ)
        namespace = namespace or environment.told(ENV_LEASE_NAMESPACE, os.environ)
        lease_name("gpu", node)  # says what is wrong with a node's name
        return cls(
            lambda _prefix: KubernetesStore(find_access(kubeconfig), namespace, node),
            pod or environment.pod(os.environ),
            environment.container(os.environ),
        )

    # Taking slots.

    async def acquire(self, limit: str, *, slots: int = 1, priority: int = 0, timeout: float | None = None) -> Holding:  # noqa: ASYNC109  the timeout withdraws from the queue, which a cancelled task could only do later
        """Wait for slots of a limit.

        A limit that is missing, inactive or too small is waited for; `waiting_reason` tells. Cancelling withdraws from the queue, and
        gives back a grant that came too late.

        Args:
            limit: Name of the limit.
            slots: How many, granted all at once.
            priority: Higher goes first; equal ones are served in the order in which they came.
            timeout: Seconds to wait at most, the queue included. None: for ever.

        Raises:
            AcquireTimeoutError: Not granted in time.
            LimitNotFoundError: Not granted in time, because there is no such limit.
            InvalidRequestError: An argument cannot be meant.
            ClientClosedError: The client is closed.
        """
        claim = self._acquire(limit, slots, priority, timeout)
        return await self._granted(claim, limit)

    def acquire_blocking(self, limit: str, *, slots: int = 1, priority: int = 0, timeout: float | None = None) -> Holding:
        """`acquire` for threads without an event loop. An exception that interrupts the wait, as Ctrl-C does, withdraws."""
        claim = self._acquire(limit, slots, priority, timeout)
        try:
            return claim.future.result()
        except BaseException:
            self._abandon(claim, limit)
            raise

    def waiting_reason(self, limit: str) -> str | None:
        """Why this client waits for a limit, in words for people; None if it does not wait."""
        session = self._sessions.get(limit)
        return session.waiting_reason() if session is not None else None

    def obstacle(self, limit: str) -> str | None:
        """What keeps this client waiting for a limit besides its turn in the queue, in words for people; None if nothing does.

        The limit is missing, inactive or too small, or the store cannot be reached.
        """
        session = self._sessions.get(limit)
        return session.obstacle() if session is not None else None

    # Looking at limits, and making them.

    def define(
        self,
        limit: str,
        *,
        slots: int,
        lease_duration_seconds: int = DEFAULT_DURATION_SECONDS,
        active: bool = True,
        bounds: Bounds = UNBOUNDED,
    ) -> None:
        """Create a limit, or change it. With the local store only: in a cluster NodeLimit objects do it.

        More slots are granted at once. Fewer take nothing from those who hold: they drain.

        Args:
            limit: Name of the limit.
            slots: How many.
            lease_duration_seconds: A holder that does not renew for so long is taken for dead.
            active: False grants nothing; those who hold keep their slots until they pass them on.
            bounds: How much of it anybody may ask for.

        Raises:
            InvalidRequestError: An argument cannot be meant, or this is a client of a cluster.
        """
        if slots < 0 or lease_duration_seconds < 1:
            raise InvalidRequestError(f"slots must be at least 0 and the duration at least 1 s, not {slots} and {lease_duration_seconds}")
        self._check_limit(limit)
        self._run(self._define(limit, LeaseState(slots, lease_duration_seconds, active, bounds=bounds))).result()

    def status(self, limit: str) -> LeaseState:
        """What the store says of a limit now.

        Raises:
            LimitNotFoundError: There is no such limit.
            StoreUnavailableError: The store cannot be reached.
        """
        self._check_limit(limit)
        return self._run(self._read(limit)).result()

    def limits(self) -> list[str]:
        """Names of the limits there are, sorted."""
        return self._run(self._limits()).result()

    def counters(self, limit: str) -> Counters:
        """What this client has cost the store for a limit."""
        session = self._sessions.get(limit)
        return Counters(session.writer.counters.writes, session.writer.counters.conflicts) if session is not None else Counters()

    def close(self) -> None:
        """Release and withdraw everything, and stop; returns within seconds even if the store is gone. May be called twice."""
        with self._lock:
            already, self._closed = self._closed, True
            loop, thread = self._loop, self._thread
        if already or loop is None or thread is None or os.getpid() != self._pid:
            return
        asyncio.run_coroutine_threadsafe(self._shut_down(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # What sessions and holdings call.

    def owns(self, request_id: str) -> bool:
        """See `Owner.owns`."""
        return request_id.startswith(f"{self._prefix}-")

    def new_stem(self) -> str:
        """See `Owner.new_stem`."""
        return f"{self._prefix}-{next(self._numbers)}."

    def release(self, holding: Holding) -> Future[None]:
        """Used by `Holding.release`."""
        holding.end()
        done: Future[None] = Future()
        try:
            self._call(lambda: self._session(holding.limit).release(holding, done))
        except ClientClosedError:
            done.set_result(None)
        return done

    async def pass_on(self, holding: Holding) -> Holding:
        """Used by `Holding.pass_on`."""
        if holding.valid and not holding.contended:
            return holding
        if holding.passing:
            raise InvalidRequestError(f"{holding!r} is being passed on already")
        claim = Claim(holding.priority, len(holding.slots), asked_at=now(), previous=holding)
        self._call(lambda: self._session(holding.limit).pass_on(claim, holding))
        return await self._granted(claim, holding.limit)

    # Between the caller's thread and the client's.

    def _check_limit(self, limit: str) -> None:
        if LIMIT_NAME.fullmatch(limit) is None:
            raise InvalidRequestError(
                f"{limit!r} is not the name of a limit: it has up to 63 lower-case letters, digits, '-' and '.', and starts and ends with "
                "a letter or digit"
            )

    def _acquire(self, limit: str, slots: int, priority: int, timeout: float | None) -> Claim:
        self._check_limit(limit)
        if slots < 1 or (timeout is not None and timeout < 0):
            raise InvalidRequestError(f"slots must be at least 1 and timeout not negative, not {slots} and {timeout}")
        claim = Claim(priority, slots, asked_at=now())
        self._call(lambda: self._session(limit).acquire(claim, timeout))
        return claim

    async def _granted(self, claim: Claim, limit: str) -> Holding:
        try:
            return await asyncio.wrap_future(claim.future)
        except BaseException:
            self._abandon(claim, limit)
            raise

    def _abandon(self, claim: Claim, limit: str) -> None:
        if not self._closed:
            self._call(lambda: self._session(limit).abandon(claim))

    def _session(self, limit: str) -> LimitSession:
        session = self._sessions.get(limit)
        if session is None:
            session = self._sessions[limit] = LimitSession(self._opened(), limit, self)
        return session

    def _opened(self) -> LeaseStore:
        if self._store is None:
            self._store = self._make_store(self._prefix)
        return self._store

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise ClientClosedError(f"the lease client of {self.pod!r} is closed")
            if os.getpid() != self._pid:
                raise ClientClosedError(f"the lease client of {self.pod!r} was made before a fork; make one in each process")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="nodelease", daemon=True)
                self._thread.start()
            return self._loop

    def _call(self, function: Callable[[], None]) -> None:
        self._start().call_soon_threadsafe(function)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self._start())
        except BaseException:
            coroutine.close()
            raise

    async def _read(self, limit: str) -> LeaseState:
        return (await self._opened().read(limit)).state

    async def _limits(self) -> list[str]:
        return await self._opened().limits()

    async def _define(self, limit: str, state: LeaseState) -> None:
        try:
            await self._opened().create(limit, state)
        except ConflictError:
            pass  # it exists: change it
        else:
            return
        done: Future[None] = Future()

        def resized(before: LeaseState) -> LeaseState:
            return transitions.resize(
                before, slots=state.slots, active=state.active, duration_seconds=state.duration_seconds, bounds=state.bounds
            )

        self._session(limit).change(resized, done)
        await asyncio.wrap_future(done)

    async def _shut_down(self) -> None:
        await asyncio.gather(*(session.close(CLOSE_TIMEOUT_SECONDS) for session in self._sessions.values()))
        await asyncio.get_running_loop().shutdown_asyncgens()  # watches hold connections
        if self._store is not None:
            await self._store.close()
        await asyncio.sleep(0)  # transports end one turn of the loop after they were closed

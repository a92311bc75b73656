"""Keeps a Lease for each NodeLimit and node, and frees the slots of pods that are gone.

Events fill the cache (`on_...`), which costs no request. Where the planner would do something about a Lease, its key is queued, and
`reconcile` does it: one write, with the version that was read. Whatever is lost on the way, an event, an answer, the whole process, the
next plan finds the same again.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Final

from imagejob_api.pod import LABEL_MEMBER
from imagejob_operator.kubernetes import KubernetesApi, NotFoundError, Page
from imagejob_operator.kubernetes.kinds import LEASE, NODE, NODE_LIMIT, POD
from imagejob_operator.limits.cache import LimitCache
from imagejob_operator.limits.facts import InvalidLimitError, Json, Pair, read_limit, read_node
from imagejob_operator.limits.leases import LeaseKeeper
from imagejob_operator.limits.notices import REASON_INVALID, Notices
from imagejob_operator.limits.pods import PodPresence, pod_name
from imagejob_operator.limits.records import pair_of, read_record
from imagejob_operator.limits.status import StatusPace
from imagejob_operator.limits.vacancies import Vacancies
from imagejob_operator.limits.view import LimitsView
from imagejob_operator.lists import Lister, Objects, pages_in
from imagejob_operator.metrics import Metrics
from imagejob_operator.settings import Settings
from imagejob_operator.versions import Versions
from imagejob_operator.work_queue import Key
from nodelease.clock import now
from nodelease.kubernetes.names import LABEL_MANAGED_BY, MANAGED_BY

LEASE_KIND: Final = "Lease"
LIMIT_KIND: Final = "NodeLimit"


class LimitController:
    """What the operator does about limits. All is called from one event loop.

    Args:
        api: The API server.
        settings: The operator's settings.
        metrics: Where to show the slots.
        queue_add: Queues a key, which then comes to `reconcile`.
    """

    def __init__(self, api: KubernetesApi, settings: Settings, metrics: Metrics, queue_add: Callable[[Key], None]) -> None:
        self._api = api
        self._settings = settings
        self._metrics = metrics
        self._queue_add = queue_add
        self._cache = LimitCache()
        self._pods = PodPresence(api, settings.watch_namespaces, now)
        self._notices = Notices(api)
        self._paces: dict[str, StatusPace] = {}
        self._status_waits: set[str] = set()
        self._limit_objects = Objects(Versions[str](), _name, self._limit_seen, self._limit_gone, partial(api.pages, NODE_LIMIT))
        self._node_objects = Objects(Versions[str](), _name, self._node_seen, self._node_gone, partial(api.pages, NODE))
        self._pod_objects = Objects(Versions[str](), pod_name, self._pod_seen, self._pod_gone, self._list_pods)
        self._lease_objects = Objects(Versions[Pair](), self._pair, self._lease_seen, self._lease_gone, self._list_leases)
        self._lister = Lister(
            (self._limit_objects, self._node_objects, self._pod_objects, self._lease_objects), self._look_at_everything, now
        )
        self._vacancies = Vacancies(self._pods, now)
        self._keeper = LeaseKeeper(api, settings.namespace, self._cache, self._pods, self._vacancies, self._lease_objects, self._notices)
        self.view = LimitsView(self._cache)
        """The limits, for whoever makes pods that need them."""

    # Events.

    def on_nodelimit(self, event_type: str | None, obj: Json) -> None:
        """A NodeLimit is there, has changed, or is gone ("DELETED")."""
        self._limit_objects.report(event_type, obj)

    def on_node(self, event_type: str | None, obj: Json) -> None:
        """A Node is there, has changed, or is gone."""
        self._node_objects.report(event_type, obj)

    def on_lease(self, event_type: str | None, obj: Json) -> None:
        """A Lease in the operator's namespace is there, has changed, or is gone."""
        self._lease_objects.report(event_type, obj)

    def on_pod(self, event_type: str | None, obj: Json) -> None:
        """A pod with the label `imagejob.dev/member=true` is there, has changed, or is gone."""
        self._pod_objects.report(event_type, obj)

    # Reconciling.

    async def sync(self) -> None:
        """List everything, if that has not been done: nothing may be reconciled before.

        Raises:
            ApiError: The API server cannot answer.
        """
        await self._lister.first()

    async def reconcile(self, key: Key) -> float | None:
        """Do what is to be done about ``("NodeLimit", name)`` or ``("Lease", node, limit)``; returns after how many seconds to look again.

        Raises:
            ApiError: Something could not be done; the same key is to be reconciled again.
        """
        if key[0] == LIMIT_KIND:
            return await self._reconcile_limit(key[1])
        _, node, limit = key
        return await self._keeper.reconcile((limit, node))

    async def _reconcile_limit(self, name: str) -> float | None:
        self._status_waits.discard(name)
        await self._lister.refresh()
        state = self._cache.limits.get(name)
        if state is None:
            return None
        if name not in self._paces:  # the NodeLimit is gone, and some still hold slots
            return self._lister.due_seconds
        if state.invalid:
            await self._notices.warn(name, state.uid, REASON_INVALID, f"the NodeLimit is left as it is: {state.invalid}")
            return self._lister.due_seconds
        pace = self._paces[name]
        status, wait = pace.next(state, now())
        if status is not None:
            try:
                written = await self._api.patch(NODE_LIMIT, name, None, {"status": status}, subresource="status")
            except NotFoundError:
                return None
            pace.wrote(status, now())
            self._limit_objects.report("MODIFIED", written)
        if wait is not None:
            self._status_waits.add(name)
        return min(self._lister.due_seconds, wait if wait is not None else self._lister.due_seconds)

    # What events do to the cache.

    def _limit_seen(self, name: str, obj: Json) -> None:
        self._paces.setdefault(name, StatusPace(self._settings.status_seconds)).read(obj)
        try:
            concerned = self._cache.set_limit(name, read_limit(obj))
        except InvalidLimitError as error:
            concerned = self._cache.set_limit(name, None, uid=obj["metadata"]["uid"], invalid=str(error))
        self._limit_changed(name, concerned)

    def _limit_gone(self, name: str) -> None:
        self._paces.pop(name, None)
        self._status_waits.discard(name)
        self._limit_changed(name, self._cache.set_limit(name, None))

    def _limit_changed(self, name: str, concerned: list[Pair]) -> None:
        for pair in concerned:
            self._look_at(pair)
        self._look_at_status(name)
        if self.view.synced:
            self.view.refresh(name)

    def _node_seen(self, name: str, obj: Json) -> None:
        self._node_changed(*self._cache.set_node(name, read_node(obj)))

    def _node_gone(self, name: str) -> None:
        self._node_changed(*self._cache.set_node(name, None))

    def _node_changed(self, concerned: list[Pair], limits: list[str]) -> None:
        for pair in concerned:
            self._look_at(pair)
        if self.view.synced:
            for limit in limits:
                self.view.refresh(limit)

    def _pod_seen(self, name: str, obj: Json) -> None:
        if self._pods.note(name, obj):
            self._look_at_entries(name)

    def _pod_gone(self, name: str) -> None:
        self._pods.note(name, None)
        self._look_at_entries(name)

    def _look_at_entries(self, pod: str) -> None:
        for pair in self._cache.pairs_of_pod.get(pod, ()):
            self._look_at(pair)

    def _lease_seen(self, pair: Pair, obj: Json) -> None:
        limit, node = pair
        known = self._cache.lease(pair)
        record = read_record(obj, pair, now())
        if known is not None and (known.uid, known.version) == (record.uid, record.version):  # a list tells of what is known
            record = replace(record, seen_at=known.seen_at)
        self._cache.set_lease(pair, record)
        state = record.state
        self._metrics.limit(
            limit, node, slots=state.slots if state else 0, held=state.held if state else 0, waiting=len(state.queue) if state else 0
        )
        self._look_at(pair)
        self._look_at_status(limit)

    def _lease_gone(self, pair: Pair) -> None:
        record = self._cache.lease(pair)
        if record is not None:
            self._vacancies.note(record, self._cache.goal(pair))
            self._metrics.limit_gone(*pair)
        self._cache.set_lease(pair, None)
        self._look_at(pair)
        self._look_at_status(pair[0])

    # What to queue.

    def _look_at(self, pair: Pair) -> None:
        """Queue a Lease if there is something to do about it. Before the first lists nobody can tell, and its key brings them about."""
        limit, node = pair
        if not self.view.synced or self._keeper.wants(pair):
            self._queue_add((LEASE_KIND, node, limit))

    def _look_at_status(self, name: str) -> None:
        pace, state = self._paces.get(name), self._cache.limits.get(name)
        if pace is None or state is None:
            return
        status, wait = pace.next(state, now())
        if status is not None or (wait is not None and name not in self._status_waits) or state.invalid or not self.view.synced:
            self._queue_add((LIMIT_KIND, name))

    def _look_at_everything(self) -> None:
        self.view.synced = True
        self._vacancies.begin()
        for name, state in list(self._cache.limits.items()):
            for node in {*state.goals, *state.leases}:
                self._look_at((name, node))
            self.view.refresh(name)
            if name in self._paces:
                self._queue_add((LIMIT_KIND, name))

    # What there is.

    def _pair(self, lease: Json) -> Pair | None:
        return pair_of(lease, self._cache.limits, self._cache.nodes)

    def _list_leases(self) -> AsyncIterator[Page]:
        return self._api.pages(LEASE, self._settings.namespace, label_selector=f"{LABEL_MANAGED_BY}={MANAGED_BY}")

    def _list_pods(self) -> AsyncIterator[Page]:
        namespaces = self._settings.watch_namespaces
        not_ended = "status.phase!=Succeeded,status.phase!=Failed"
        return pages_in(self._api, POD, namespaces, label_selector=f"{LABEL_MEMBER}=true", field_selector=not_ended)


def _name(obj: Json) -> str:
    return str(obj["metadata"]["name"])

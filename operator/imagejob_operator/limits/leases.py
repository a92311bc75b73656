"""Does to one Lease what the planner says."""

import logging
from collections.abc import Collection
from typing import Final

from imagejob_operator.kubernetes import ConflictError, ExistsError, KubernetesApi, NotFoundError
from imagejob_operator.kubernetes.kinds import LEASE
from imagejob_operator.limits.cache import LimitCache
from imagejob_operator.limits.facts import Goal, Pair
from imagejob_operator.limits.notices import REASON_MALFORMED, REASON_NAME_TAKEN, Notices
from imagejob_operator.limits.plan import Action, Create, Delete, Replace, Wait, plan
from imagejob_operator.limits.pods import PodPresence
from imagejob_operator.limits.records import LeaseRecord, is_ours
from imagejob_operator.limits.vacancies import Vacancies
from imagejob_operator.lists import Objects
from nodelease.clock import now
from nodelease.kubernetes.names import lease_name

logger = logging.getLogger(__name__)

ATTEMPTS: Final = 20
"""Writes in a row that may be refused because a pod wrote first; then the Lease is queued again."""


class _NameTakenError(Exception):
    """A Lease of that name belongs to somebody else."""


class LeaseKeeper:
    """Keeps the Leases as they are to be.

    Args:
        api: The API server.
        namespace: Where the Leases are.
        cache: What is known.
        pods: Whose entries are dead.
        vacancies: Which Leases are gone.
        leases: Is told of what the API server answers.
        notices: Where to say what is wrong.
    """

    def __init__(
        self,
        api: KubernetesApi,
        namespace: str,
        cache: LimitCache,
        pods: PodPresence,
        vacancies: Vacancies,
        leases: Objects[Pair],
        notices: Notices,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._cache = cache
        self._pods = pods
        self._vacancies = vacancies
        self._leases = leases
        self._notices = notices

    def wants(self, pair: Pair) -> bool:
        """Whether there is something to do about a Lease, or to ask because of it."""
        record = self._cache.lease(pair)
        doubtful = record is not None and record.state is not None and self._pods.doubtful(record.state)
        return doubtful or self._plan(pair, record, ()) is not None

    async def reconcile(self, pair: Pair) -> float | None:
        """Do it; returns after how many seconds to look again.

        Raises:
            ApiError: It could not be done now.
        """
        gone: set[str] = set()
        refused = False
        for _ in range(ATTEMPTS):
            try:
                again = await self._ask(await self._read(pair, anew=refused), gone)
                record = self._cache.lease(pair)  # it may have changed meanwhile
                await self._explain(record)
                wait = await self._do(pair, self._plan(pair, record, gone), record)
            except (ConflictError, ExistsError):
                refused = True
            except _NameTakenError as error:
                await self._warn(pair, REASON_NAME_TAKEN, str(error))
                return None
            else:
                return min((seconds for seconds in (again, wait) if seconds is not None), default=None)
        raise ConflictError(f"the Lease {lease_name(*pair)} changes too fast")

    async def _ask(self, record: LeaseRecord | None, gone: set[str]) -> float | None:
        """Find out which entries are dead. Ids are used once, so who is dead stays so, whatever else the Lease says by then."""
        if record is None or record.state is None:
            return None
        found, again = await self._pods.gone(record.state)
        gone |= found
        return again

    def _plan(self, pair: Pair, record: LeaseRecord | None, gone: Collection[str]) -> Action | None:
        limit, node = pair
        goal = self._cache.goal(pair)
        state = self._cache.limits.get(limit)
        if state is not None and state.invalid:  # nobody knows what the limit is to be: let it be what it is
            if record is None or record.state is None:
                return None
            goal = Goal(record.state.slots, record.state.active, record.state.duration_seconds, record.state.bounds)
        beginning = self._vacancies.beginning(pair, goal)
        return plan(pair, goal, self._cache.nodes.get(node), record, gone, namespace=self._namespace, beginning=beginning, now=now())

    async def _read(self, pair: Pair, *, anew: bool) -> LeaseRecord | None:
        """The Lease as it is known; from the API server if nothing is known of one that is to be, or if what is known is old.

        Raises:
            _NameTakenError: There is one that is not ours.
        """
        known = self._cache.lease(pair)
        if (known is not None and not anew) or (known is None and self._cache.goal(pair) is None):
            return known
        name = lease_name(*pair)
        try:
            lease = await self._api.get(LEASE, name, self._namespace)
        except NotFoundError:
            if known is not None:
                self._leases.forget(pair, known.version)
            return None
        if not is_ours(lease) or self._leases.key(lease) != pair:
            raise _NameTakenError(f"the Lease {name} belongs to somebody else, so node {pair[1]} has no slots of this limit")
        self._leases.report("MODIFIED", lease)
        return self._cache.lease(pair)

    async def _do(self, pair: Pair, action: Action | None, record: LeaseRecord | None) -> float | None:
        match action:
            case Create(lease):
                self._leases.report("ADDED", await self._api.create(LEASE, lease))
            case Replace(lease, reaped):
                try:
                    self._leases.report("MODIFIED", await self._api.replace(LEASE, lease))
                except NotFoundError as error:
                    raise ConflictError(str(error), status=error.status) from error  # deleted since: read again
                if reaped:
                    logger.info("Limit %s on %s: freed what was left of %s", *pair, ", ".join(reaped))
            case Delete(name, uid):
                await self._api.delete(LEASE, name, self._namespace, uid=uid)
                if record is not None:
                    self._leases.forget(pair, record.version)
            case Wait(seconds):
                return seconds
            case None:
                pass
        return None

    async def _explain(self, record: LeaseRecord | None) -> None:
        if record is not None and record.state is None:
            text = f"the Lease {record.name} is not as it must be, and nobody is granted a slot until it is mended: {record.problem}"
            await self._warn(record.pair, REASON_MALFORMED, text)

    async def _warn(self, pair: Pair, reason: str, text: str) -> None:
        state = self._cache.limits.get(pair[0])
        if state is not None and state.uid:
            await self._notices.warn(pair[0], state.uid, reason, text)

"""Jobs and slots at one moment, and the watches that keep them up to date."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from imagejob_cli.cluster.api import Api
from imagejob_cli.cluster.exceptions import ForbiddenError
from imagejob_cli.cluster.finding import no_such_job
from imagejob_cli.cluster.job import JobView
from imagejob_cli.cluster.lease_namespace import LEASE_SELECTORS, find_leases
from imagejob_cli.cluster.mirror import Mirror, Selection
from imagejob_cli.cluster.resources import IMAGE_JOB, LEASE
from imagejob_cli.cluster.slots import NodeSlots, read_slots


@dataclass(frozen=True, slots=True)
class Scope:
    """Which jobs are looked at."""

    namespace: str | None
    """Their namespace; None means all."""
    names: tuple[str, ...] = ()
    """Their names; empty means all."""

    @property
    def selection(self) -> Selection:
        """What is asked of the API server: for one job that job alone, which a narrow right suffices for."""
        selectors = {"fieldSelector": f"metadata.name={self.names[0]}"} if len(self.names) == 1 else {}
        return Selection(IMAGE_JOB, self.namespace, selectors)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Jobs and slots at one moment."""

    jobs: tuple[JobView, ...]
    """Those at work first, then by name; of named ones also those that are deleted, as they were last."""
    slots: tuple[NodeSlots, ...]
    """By limit and node."""
    slots_note: str
    """Why the slots are not all there is."""
    now: datetime
    """The moment."""
    missing: frozenset[str] = frozenset()
    """Named jobs that have been deleted."""


class Board:
    """Jobs and slots of a cluster.

    Args:
        api: The cluster.
        scope: Which jobs.
        say: Called with words about the connection.
    """

    def __init__(self, api: Api, scope: Scope, say: Callable[[str], None]) -> None:
        self.scope = scope
        self._api, self._say = api, say
        self._changed = asyncio.Event()
        self._jobs = Mirror(api, scope.selection, self._changed.set, say)
        self._leases: Mirror | None = None
        self._slots_note = ""

    async def read(self, operator_namespace: str | None) -> Self:
        """Reads jobs and slots as they are now. Jobs can be looked at without the right to look at Leases, too.

        Raises:
            NotFoundError: There is no job of one of the names.
            ClusterError: The jobs cannot be read.
        """
        await self._jobs.list()
        there = {name for _, name in self._jobs.objects}
        for name in self.scope.names:
            if name not in there:
                raise await no_such_job(self._api, self.scope.namespace, name)
        try:
            place = await find_leases(self._api, operator_namespace)
            leases = Mirror(self._api, Selection(LEASE, place.namespace, LEASE_SELECTORS), self._changed.set, self._say)
            await leases.list()
        except ForbiddenError as error:
            self._slots_note = f"slots are not shown: {error.format_message()}"
        else:
            self._leases, self._slots_note = leases, place.note
        return self

    def mirrors(self) -> Sequence[Mirror]:
        """What is to be followed."""
        return [self._jobs] if self._leases is None else [self._jobs, self._leases]

    async def change(self) -> None:
        """Waits until something has changed since the last snapshot."""
        await self._changed.wait()

    def snapshot(self) -> Snapshot:
        """Jobs and slots now."""
        self._changed.clear()
        names = self.scope.names
        there = {key: found for key, found in self._jobs.objects.items() if not names or key[1] in names}
        gone = {key: found for key, found in self._jobs.deleted.items() if key not in there and key[1] in names}
        jobs = [JobView.of(found) for found in (*there.values(), *gone.values())]
        return Snapshot(
            jobs=tuple(sorted(jobs, key=lambda job: (job.finished is not None, job.full_name))),
            slots=tuple(read_slots(self._leases.objects.values())) if self._leases else (),
            slots_note=self._slots_note,
            now=datetime.now(UTC),
            missing=frozenset(name for _, name in gone),
        )

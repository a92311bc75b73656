"""The writer where others write all the time."""

import asyncio
from collections.abc import AsyncIterator

from nodelease import transitions
from nodelease.exceptions import ConflictError
from nodelease.state import LeaseState, Waiter
from nodelease.store import Observation, Snapshot
from nodelease.writer import LeaseWriter, Operation


class BusyStore:
    """Somebody else writes soon after each conflict, and the watch tells nobody who only looks on: so is a local store's fast hand-over."""

    def __init__(self, conflicts: int) -> None:
        self.newest = Snapshot("1", LeaseState(slots=1))
        self.conflicts = conflicts
        self.attempts = 0

    def write(self) -> None:
        self.newest = Snapshot(str(int(self.newest.version) + 1), self.newest.state)

    async def read(self, _limit: str) -> Snapshot:
        return self.newest

    async def replace(self, limit: str, state: LeaseState, expected: str) -> Snapshot:
        self.attempts += 1
        if self.conflicts:
            self.conflicts -= 1
            self.write()
        if self.newest.version != expected:
            current = self.newest
            self.write()  # while the one who was refused makes way
            raise ConflictError(limit, current)
        self.newest = Snapshot(str(int(expected) + 1), state)
        return self.newest

    async def create(self, limit: str, state: LeaseState) -> Snapshot:
        raise NotImplementedError(limit, state)

    def watch(self, limit: str) -> AsyncIterator[Observation]:
        raise NotImplementedError(limit)

    async def limits(self) -> list[str]:
        return []

    def order(self, version: str) -> int:
        return int(version)

    async def close(self) -> None:
        return


async def test_a_newcomer_that_has_made_way_goes_on_from_what_is_there_then() -> None:
    store = BusyStore(conflicts=2)
    writer = LeaseWriter(store, "gpu", lambda _state: None)
    writer.observe(Observation(store.newest))
    writer.submit(Operation(lambda state: transitions.request(state, Waiter("a-1", "a")), urgent=False))
    async with asyncio.timeout(2):
        await writer.drained()
    assert store.attempts == 3, "two were refused because of others, and none because what it knew was old"


async def test_what_is_done_and_undone_in_one_write_writes_nothing() -> None:
    store = BusyStore(conflicts=0)
    writer = LeaseWriter(store, "gpu", lambda _state: None)
    writer.observe(Observation(store.newest))
    writer.submit(Operation(lambda state: transitions.request(state, Waiter("a-1", "a"))))
    writer.submit(Operation(lambda state: transitions.withdraw(state, "a-1")))
    async with asyncio.timeout(2):
        await writer.drained()
    assert store.attempts == 0
    assert writer.counters.writes == 0

"""A store whose network fails: answers lost, writes lost, reports late or dropped, watches broken. And parties that use and die."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from itertools import count

from nodelease import transitions
from nodelease.claim import Claim
from nodelease.clock import now
from nodelease.exceptions import ConflictError, LimitNotFoundError, MalformedLeaseError, StoreUnavailableError
from nodelease.holding import Holding
from nodelease.session import LimitSession
from nodelease.state import LeaseState
from nodelease.store import LeaseStore, Observation, Snapshot

LIMIT = "gpu"


class SimulatedServer:
    """Keeps one Lease, checks every write, and remembers what was wrong."""

    def __init__(self, state: LeaseState) -> None:
        self.newest: Snapshot | None = Snapshot("1", state)
        self.problems: list[str] = []
        self.writes = 0
        self.changed: set[asyncio.Event] = set()
        self.spoilt = False
        """Nobody can understand what it says."""
        self.refuses: Callable[[LeaseState, LeaseState], bool] = lambda _before, _after: False
        """Which writes an admission policy refuses: state before, state after."""

    def spoil(self) -> None:
        self.spoilt = True
        self._tell()

    def mend(self, state: LeaseState) -> None:
        self.spoilt = False
        self.write(state)

    def _tell(self) -> None:
        for event in self.changed:
            event.set()

    @property
    def state(self) -> LeaseState:
        assert self.newest is not None
        return self.newest.state

    def write(self, state: LeaseState) -> Snapshot:
        assert self.newest is not None
        before = self.newest.state
        known = {(holder.id, holder.fence) for holder in before.holders}
        new = [holder.fence for holder in state.holders if (holder.id, holder.fence) not in known]
        if any(fence <= before.transitions for fence in new):
            self.problems.append(f"fences {new} after {before.transitions}")
        if state.transitions - before.transitions > len(new):
            self.problems.append(f"the fence grew by {state.transitions - before.transitions} for {new}")
        if new and state.held > state.capacity:
            self.problems.append(f"{state.held} slots of {state.capacity} are held")
        head = next(filter(state.grantable, state.queue), None)
        if head is not None and head.slots <= len(state.free):
            self.problems.append(f"{head} waits and {state.free} are free")
        self.newest = Snapshot(str(int(self.newest.version) + 1), state)
        self.writes += 1
        self._tell()
        return self.newest

    def reap(self, ids: set[str]) -> None:
        state = transitions.reap(self.state, ids)
        if state is not self.state:
            self.write(state)


class SimulatedStore:
    """One party's way to the server.

    `faults` is the chance that something goes wrong each time; `cut` makes everything fail, and `cut_after_write` does so from the next
    write on.
    """

    def __init__(self, server: SimulatedServer, rng: random.Random, faults: float) -> None:
        self.server, self.rng, self.faults = server, rng, faults
        self.cut = self.cut_after_write = False

    async def read(self, limit: str) -> Snapshot:
        await self._travel()
        if self.server.newest is None:
            raise LimitNotFoundError(limit)
        if self.server.spoilt:
            raise MalformedLeaseError("it is malformed")
        newest = self.server.newest
        await self._travel()
        return newest

    async def create(self, limit: str, state: LeaseState) -> Snapshot:
        raise NotImplementedError(limit, state)

    async def replace(self, limit: str, state: LeaseState, expected: str) -> Snapshot:
        await self._travel()  # a write may be lost
        if self.server.newest is None:
            raise LimitNotFoundError(limit)
        if self.server.spoilt or self.server.newest.version != expected:
            raise ConflictError(limit, self.server.newest if self.rng.random() < 0.5 and not self.server.spoilt else None)
        if self.server.refuses(self.server.newest.state, state):
            raise StoreUnavailableError("refused")
        written = self.server.write(state)
        if self.cut_after_write:
            self.cut, self.cut_after_write = True, False
        await self._travel()  # and so may its answer
        return written

    async def watch(self, limit: str) -> AsyncIterator[Observation]:
        event = asyncio.Event()
        self.server.changed.add(event)
        try:
            while True:
                newest, spoilt = self.server.newest, self.server.spoilt
                try:
                    await self._travel()  # what arrives may be old by now
                except StoreUnavailableError:
                    await asyncio.sleep(0.001)
                    continue
                if spoilt:
                    yield Observation(None, "it is malformed", unreadable=True)
                else:
                    yield Observation(newest, "" if newest is not None else f"limit {limit!r} does not exist")
                if newest is self.server.newest and spoilt == self.server.spoilt:
                    event.clear()
                    await event.wait()
        finally:
            self.server.changed.discard(event)

    async def limits(self) -> list[str]:
        return [LIMIT]

    def order(self, version: str) -> int:
        return int(version)

    async def close(self) -> None:
        return

    async def _travel(self) -> None:
        for _ in range(self.rng.randint(0, 3)):
            await asyncio.sleep(0)
        if self.rng.random() < self.faults / 2:
            await asyncio.sleep(self.rng.random() * 0.003)
        if self.cut or self.rng.random() < self.faults:
            raise StoreUnavailableError("the network failed")


class Member:
    """What a `LeaseClient` is, but for its thread."""

    def __init__(self, store: LeaseStore, name: str) -> None:
        self.name = self.pod = name
        self.store = store
        self.session = LimitSession(self.store, LIMIT, self)
        self.numbers = count(1)

    def owns(self, request_id: str) -> bool:
        return request_id.startswith(f"{self.name}-")

    def new_stem(self) -> str:
        return f"{self.name}-{next(self.numbers)}."

    async def acquire(self, slots: int = 1, priority: int = 0, timeout: float | None = None) -> Holding:  # noqa: ASYNC109  as the client's
        claim = Claim(priority, slots, now())
        self.session.acquire(claim, timeout)
        return await self._granted(claim)

    def release(self, holding: Holding) -> Future[None]:
        done: Future[None] = Future()
        self.session.release(holding, done)
        return done

    async def pass_on(self, holding: Holding) -> Holding:
        claim = Claim(holding.priority, len(holding.slots), now(), previous=holding)
        self.session.pass_on(claim, holding)
        return await self._granted(claim)

    async def _granted(self, claim: Claim) -> Holding:
        try:
            return await asyncio.wrap_future(claim.future)
        except BaseException:
            self.session.abandon(claim)
            raise


class Party(Member):
    """A member over the simulated network."""

    store: SimulatedStore

    def __init__(self, server: SimulatedServer, name: str, rng: random.Random, faults: float = 0.0) -> None:
        super().__init__(SimulatedStore(server, rng, faults), name)
        self.server = server

    async def crash(self) -> None:
        """Stop at this point, and be reaped."""
        await self.session.abort()
        self.server.reap({request for request in self.server.state.ids if request.startswith(f"{self.name}-")})


class Resource:
    """Notices when it is used by more than it has room for."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.used = 0
        self.overused = False

    async def use(self, holding: Holding, rng: random.Random) -> None:
        if not holding.valid:
            return
        self.used += len(holding.slots)
        self.overused |= self.used > self.room
        try:
            for _ in range(rng.randint(0, 5)):
                await asyncio.sleep(0)
        finally:
            self.used -= len(holding.slots)


async def work(party: Party, resource: Resource, rng: random.Random, rounds: int) -> int:
    """Take slots in every way there is; returns how often it worked."""
    done = 0
    while done < rounds:
        kind = rng.random()
        acquiring = asyncio.ensure_future(party.acquire(slots=rng.choice([1, 1, 2]), priority=rng.choice([0, 0, 1])))
        if kind < 0.3:
            await asyncio.sleep(rng.random() * 0.004)
            if acquiring.cancel():
                await asyncio.gather(acquiring, return_exceptions=True)
                continue
        holding = await acquiring
        await resource.use(holding, rng)
        if kind > 0.6:
            holding = await holding.pass_on()
            await resource.use(holding, rng)
        if kind > 0.9:
            passing = asyncio.ensure_future(holding.pass_on())
            await asyncio.sleep(rng.random() * 0.002)
            if passing.cancel():
                await asyncio.gather(passing, return_exceptions=True)
            else:
                holding = await passing
        await holding.release()
        done += 1
    return done

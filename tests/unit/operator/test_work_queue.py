import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagejob_operator.work_queue import BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS, Key, Outcome, WorkQueue
from tests.unit.operator.virtual_time import run

KEY = ("ImageJob", "team-a", "cats")
OTHER = ("Lease", "node-1", "gpu")


class World:
    """Reconciles by a script, and remembers when."""

    def __init__(self, reconcile: Callable[[Key], Awaitable[float | None]] | None = None) -> None:
        self.starts: list[tuple[float, Key]] = []
        self.running: Counter[Key] = Counter()
        self._reconcile = reconcile

    async def reconcile(self, key: Key) -> float | None:
        self.starts.append((asyncio.get_running_loop().time(), key))
        self.running[key] += 1
        assert self.running[key] == 1, "no key is reconciled twice at once"
        try:
            return None if self._reconcile is None else await self._reconcile(key)
        finally:
            self.running[key] -= 1

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.starts]

    @property
    def keys(self) -> list[Key]:
        return [key for _, key in self.starts]


@asynccontextmanager
async def working(queue: WorkQueue) -> AsyncIterator[WorkQueue]:
    task = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def test_many_events_of_one_object_cost_one_reconcile() -> None:
    async def scenario() -> None:
        world = World()
        queue = WorkQueue(world.reconcile, workers=3)
        for _ in range(1000):
            queue.add(KEY)
        queue.add(OTHER)
        assert queue.depth == 2
        async with working(queue):
            await asyncio.sleep(1)
        assert world.keys == [KEY, OTHER]
        assert queue.depth == 0

    run(scenario())


def test_a_key_added_while_it_runs_runs_once_more_afterwards() -> None:
    async def scenario() -> None:
        async def slow(_key: Key) -> None:
            await asyncio.sleep(5)

        world = World(slow)
        async with working(WorkQueue(world.reconcile, workers=3)) as queue:
            queue.add(KEY)
            await asyncio.sleep(1)
            for _ in range(10):
                queue.add(KEY)
            await asyncio.sleep(20)
        assert world.times == [0, 5]

    run(scenario())


def test_a_result_asks_for_another_look() -> None:
    async def scenario() -> None:
        async def later(_key: Key) -> float | None:
            return 30 if len(world.starts) < 3 else None

        world = World(later)
        async with working(WorkQueue(world.reconcile, workers=1)) as queue:
            queue.add(KEY)
            await asyncio.sleep(1000)
        assert world.times == [0, 30, 60]

    run(scenario())


def test_the_earliest_time_wins() -> None:
    async def scenario() -> None:
        world = World()
        async with working(WorkQueue(world.reconcile, workers=1)) as queue:
            queue.add_after(KEY, 50)
            queue.add_after(KEY, 10)
            queue.add_after(KEY, 90)
            queue.add_after(OTHER, 20)
            queue.add(OTHER)
            await asyncio.sleep(1000)
        assert world.starts == [(0, OTHER), (10, KEY)]

    run(scenario())


def test_errors_back_off_up_to_a_minute_and_are_forgotten_after_a_success() -> None:
    async def scenario() -> None:
        async def reconcile(_key: Key) -> None:
            if len(world.starts) != 15:
                raise ValueError("still broken")

        world = World(reconcile)
        async with working(WorkQueue(world.reconcile, workers=1)) as queue:
            queue.add(KEY)
            await asyncio.sleep(1000)
            gaps = [later - earlier for earlier, later in zip(world.times, world.times[1:], strict=False)]
            assert len(gaps) == 14
            for number, gap in enumerate(gaps):
                longest = min(BACKOFF_LAST_SECONDS, BACKOFF_FIRST_SECONDS * 2**number)
                assert longest / 2 <= gap <= longest * 1.0001
            queue.add(KEY)
            await asyncio.sleep(BACKOFF_FIRST_SECONDS * 1.01)
            assert len(world.starts) == 17

    run(scenario())


def test_one_failing_key_holds_up_no_other() -> None:
    async def scenario() -> None:
        async def reconcile(key: Key) -> float:
            if key == KEY:
                raise ValueError("broken")
            return 1

        world = World(reconcile)
        async with working(WorkQueue(world.reconcile, workers=1)) as queue:
            queue.add(KEY)
            queue.add(OTHER)
            await asyncio.sleep(100.5)
        assert world.keys.count(OTHER) == 101

    run(scenario())


def test_an_error_is_logged_once_with_its_key(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async def reconcile(_key: Key) -> None:
            raise ValueError("first" if len(world.starts) < 5 else "second")

        world = World(reconcile)
        async with working(WorkQueue(world.reconcile, workers=1)) as queue:
            queue.add(KEY)
            await asyncio.sleep(100)

    with caplog.at_level(logging.WARNING):
        run(scenario())
    assert [record.getMessage() for record in caplog.records] == ["Reconciling ImageJob/team-a/cats failed; trying again"] * 2
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["first", "second"]


def test_a_reconcile_that_hangs_is_an_error_after_its_deadline() -> None:
    outcomes: list[Outcome] = []

    async def scenario() -> None:
        async def reconcile(_key: Key) -> None:
            if len(world.starts) == 1:
                await asyncio.Event().wait()

        world = World(reconcile)
        async with working(WorkQueue(world.reconcile, workers=1, deadline_seconds=60, ended=outcomes.append)) as queue:
            queue.add(KEY)
            await asyncio.sleep(100)

    run(scenario())
    assert [(outcome.key, outcome.seconds) for outcome in outcomes] == [(KEY, 60), (KEY, 0)]
    assert isinstance(outcomes[0].error, TimeoutError)
    assert outcomes[1].error is None


def test_a_cancellation_from_below_ends_no_worker() -> None:
    async def scenario() -> None:
        async def reconcile(key: Key) -> None:
            if key == KEY:
                raise asyncio.CancelledError

        world = World(reconcile)
        async with working(WorkQueue(world.reconcile, workers=1)) as queue:
            queue.add(KEY)
            queue.add(OTHER)
            await asyncio.sleep(0.1)
        assert world.keys[:2] == [KEY, OTHER]

    run(scenario())


def test_urgent_kinds_go_first_and_the_rest_in_order() -> None:
    async def scenario() -> None:
        world = World()
        queue = WorkQueue(world.reconcile, workers=1, urgent={"Lease"})
        keys = [("ImageJob", "a", str(number)) for number in range(10)]
        for key in keys:
            queue.add(key)
        queue.add(OTHER)
        async with working(queue):
            await asyncio.sleep(1)
        assert world.keys == [OTHER, *keys]

    run(scenario())


def test_a_stream_of_urgent_keys_leaves_the_others_their_share() -> None:
    async def scenario() -> None:
        async def reconcile(key: Key) -> None:
            if key[0] == "Lease":
                queue.add(("Lease", "node-1", str(len(world.starts))))  # the next one waits before this one has ended

            await asyncio.sleep(1)

        world = World(reconcile)
        queue = WorkQueue(world.reconcile, workers=2, urgent={"Lease"})
        for number in range(10):
            queue.add(("Lease", f"node-{number}", "gpu"))
            queue.add(("ImageJob", "a", str(number)))
        async with working(queue):
            await asyncio.sleep(30)
        first = [key[0] for key in world.keys[:50]]
        assert first.count("ImageJob") == 10
        assert first.count("Lease") == 40

    run(scenario())


def test_reconciles_that_never_wait_let_others_have_their_turn() -> None:
    async def scenario() -> None:
        async def reconcile(key: Key) -> None:
            if len(world.starts) < 1000:
                queue.add(OTHER if key == KEY else KEY)

        world = World(reconcile)
        queue = WorkQueue(world.reconcile, workers=1)
        queue.add(KEY)
        async with working(queue):
            for _ in range(5):
                await asyncio.sleep(0)
            assert 0 < len(world.starts) < 1000

    run(scenario())


def test_depth_and_the_age_of_the_oldest() -> None:
    async def scenario() -> None:
        queue = WorkQueue(World().reconcile, workers=1)
        assert queue.oldest_seconds == 0
        queue.add(KEY)
        await asyncio.sleep(3)
        queue.add(OTHER)
        await asyncio.sleep(4)
        assert (queue.depth, queue.oldest_seconds) == (2, 7)

    run(scenario())


KEYS = st.sampled_from([("ImageJob", "a", "1"), ("ImageJob", "a", "2"), ("Lease", "n", "gpu")])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), KEYS, st.just(0.0)),
        st.tuples(st.just("after"), KEYS, st.sampled_from([0.0, 0.5, 3.0, 70.0])),
        st.tuples(st.just("sleep"), KEYS, st.sampled_from([0.0, 0.1, 1.0, 10.0])),
    ),
    max_size=40,
)
RESULTS = st.lists(st.tuples(st.sampled_from([0.0, 0.3, 2.0]), st.sampled_from(["ok", "error", "again"])), min_size=1, max_size=10)


@given(steps=STEPS, results=RESULTS, workers=st.integers(1, 3))
def test_every_add_is_followed_by_a_reconcile_that_began_later(
    steps: list[tuple[str, Key, float]], results: list[tuple[float, str]], workers: int
) -> None:
    async def scenario() -> None:
        promised: dict[Key, float] = {}
        script = iter(results)

        async def reconcile(key: Key) -> float | None:
            promised.pop(key, None)
            seconds, ending = next(script, (0.0, "ok"))
            await asyncio.sleep(seconds)
            if ending == "error":
                raise ValueError("broken")
            return 1.0 if ending == "again" else None

        world = World(reconcile)
        async with working(WorkQueue(world.reconcile, workers=workers, urgent={"Lease"})) as queue:
            for step, key, seconds in steps:
                if step == "sleep":
                    await asyncio.sleep(seconds)
                    continue
                promised[key] = asyncio.get_running_loop().time()
                if step == "add":
                    queue.add(key)
                else:
                    queue.add_after(key, seconds)
            await asyncio.sleep(200)
            assert not promised
            assert queue.depth == 0
            left = [*queue._ready, *queue._later, *queue._running, *queue._again, *queue._failures]
            assert not left, "nothing is left behind"
            assert queue._waiting.locked()

    logging.disable(logging.CRITICAL)
    try:
        run(scenario())
    finally:
        logging.disable(logging.NOTSET)

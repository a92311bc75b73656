"""A worker's turn on its limits, against a limiter that a test controls by hand."""

import asyncio
import math

from imagejob_api.pipeline import StepLimit
from imagejob_runner.audit import Hold
from imagejob_runner.pipeline.turn import Turn, now


class FakeHolding:
    def __init__(self, limiter: "FakeLimiter", limit: str, fence: int) -> None:
        self.limiter, self.limit, self.fence = limiter, limit, fence
        self.id, self.slots, self.waited, self.asked_at = f"me-{fence}", (0,), True, now()
        self.valid, self.max_hold_seconds = True, limiter.max_hold_seconds
        self.wanted = asyncio.Event()
        self.kept = False
        """Whether all who wait go after this one, so that passing it on comes to nothing."""

    @property
    def contended(self) -> bool:
        return self.wanted.is_set()

    async def wait_contended(self) -> None:
        await self.wanted.wait()

    async def release(self) -> None:
        self.limiter.log.append(f"release {self.limit}")

    async def pass_on(self) -> "FakeHolding":
        self.limiter.log.append(f"pass on {self.limit}")
        return self if self.kept else self.limiter.make(self.limit)


class FakeLimiter:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.made: list[FakeHolding] = []
        self.max_hold_seconds = math.inf

    def make(self, limit: str) -> FakeHolding:
        self.made.append(FakeHolding(self, limit, len(self.made) + 1))
        return self.made[-1]

    async def acquire(self, limit: str, *, slots: int, priority: int) -> FakeHolding:
        self.log.append(f"acquire {limit} {slots} {priority}")
        return self.make(limit)


class Case:
    def __init__(self, *limits: StepLimit) -> None:
        self.limiter = FakeLimiter()
        self.holds: list[Hold] = []
        self.counts: dict[str, int] = {"waiting": 0, "holding": 0}
        self.turn = Turn(
            self.limiter,
            limits,
            priority=7,
            node="n",
            boot="b",
            record=self.holds.append,
            waiting=lambda _, change: self.count("waiting", change),
            holding=lambda _, change: self.count("holding", change),
        )

    def count(self, what: str, change: int) -> None:
        self.counts[what] += change


def gpu(hold: str = "5s") -> StepLimit:
    return StepLimit(name="gpu", hold=hold)


async def test_with_nobody_waiting_the_slot_is_kept_from_one_batch_to_the_next() -> None:
    case = Case(gpu())
    for _ in range(3):
        await case.turn.enter()
        async with case.turn.working():
            pass
        await case.turn.after_work(ready=True, behind=False)
    assert case.limiter.log == ["acquire gpu 1 7"]
    await case.turn.after_work(ready=False, behind=False)
    assert case.turn.holding, "a short gap does not lose the slot"


async def test_the_longest_hold_of_the_limit_counts_as_it_is_now() -> None:
    case = Case(gpu("99999h"))
    await case.turn.enter()
    (holding,) = case.limiter.made
    holding.wanted.set()
    await case.turn.after_work(ready=True, behind=False)
    assert case.limiter.log == ["acquire gpu 1 7"], "no bound yet"
    holding.max_hold_seconds = 0.0
    await case.turn.after_work(ready=True, behind=False)
    assert case.limiter.log[-1] == "pass on gpu"


async def test_a_wanted_slot_is_let_go_at_once_when_nothing_is_ready() -> None:
    case = Case(gpu())
    await case.turn.enter()
    case.limiter.made[0].wanted.set()
    await case.turn.after_work(ready=False, behind=False)
    assert case.limiter.log[-1] == "release gpu"
    assert not case.turn.holding


async def test_a_wanted_slot_is_let_go_at_once_when_the_next_stage_is_behind() -> None:
    case = Case(gpu())
    await case.turn.enter()
    case.limiter.made[0].wanted.set()
    await case.turn.after_work(ready=True, behind=True)
    assert case.limiter.log[-1] == "release gpu"


async def test_a_wanted_slot_rests_for_a_hundredth_of_its_work_while_the_next_work_is_about_to_come() -> None:
    case = Case(gpu())
    await case.turn.enter()
    (holding,) = case.limiter.made
    holding.wanted.set()
    came, asked = asyncio.Event(), 0

    async def soon() -> bool:
        nonlocal asked
        asked += 1
        return await came.wait()

    came.set()
    async with case.turn.working():
        await asyncio.sleep(0.05)
    await case.turn.after_work(ready=False, behind=False, soon=soon)
    assert (case.turn.holding, asked) == (True, 1), "it came in time"

    came.clear()
    await case.turn.after_work(ready=True, behind=False, soon=soon)
    await case.turn.after_work(ready=False, behind=True, soon=soon)
    assert asked == 1, "there is nothing to wait for, or no room for what would come"

    await case.turn.enter()
    case.limiter.made[-1].wanted.set()
    async with case.turn.working():
        await asyncio.sleep(0.2)
    begun = now()
    await case.turn.after_work(ready=False, behind=False, soon=soon)
    assert (case.turn.holding, asked) == (False, 2), "it did not come in time"
    assert now() - begun >= 0.002


async def test_a_slot_does_not_rest_again_before_it_has_worked_again() -> None:
    case = Case(gpu())
    await case.turn.enter()
    case.limiter.made[0].wanted.set()

    async def at_once() -> bool:
        return True

    async def after_a_turn_of_the_loop() -> bool:
        await asyncio.sleep(0)
        return True

    async with case.turn.working():
        await asyncio.sleep(0.05)
    await case.turn.after_work(ready=False, behind=False, soon=at_once)
    assert case.turn.holding
    await case.turn.after_work(ready=False, behind=False, soon=after_a_turn_of_the_loop)
    assert not case.turn.holding


async def test_a_wanted_slot_is_kept_for_hold_and_then_passed_on_in_one_write() -> None:
    case = Case(gpu("50ms"))
    await case.turn.enter()
    case.limiter.made[0].wanted.set()
    await case.turn.after_work(ready=True, behind=False)
    assert case.limiter.log == ["acquire gpu 1 7"]
    async with case.turn.working():
        await asyncio.sleep(0.06)
    await case.turn.after_work(ready=True, behind=False)
    assert case.limiter.log == ["acquire gpu 1 7", "pass on gpu"]
    assert case.turn.holding
    assert len(case.holds) == 1


async def test_a_slot_that_passing_on_brings_back_is_one_hold_from_beginning_to_end() -> None:
    case = Case(gpu("0s"))
    await case.turn.enter()
    (holding,) = case.limiter.made
    holding.kept = True
    holding.wanted.set()
    for _ in range(2):
        async with case.turn.working():
            await asyncio.sleep(0.01)
        await case.turn.after_work(ready=True, behind=False)
    assert case.limiter.log == ["acquire gpu 1 7", "pass on gpu", "pass on gpu"]
    assert (case.turn.holding, case.holds) == (True, []), "it goes on"
    assert case.counts == {"waiting": 0, "holding": 1}
    await case.turn.leave()
    (hold,) = case.holds
    assert hold.fence == 1
    assert hold.busy >= 0.02, "the work before counts too"
    assert case.counts == {"waiting": 0, "holding": 0}


async def test_a_hold_that_is_passed_on_ends_before_the_wait_for_the_next() -> None:
    case = Case(gpu("0s"))
    await case.turn.enter()
    (holding,) = case.limiter.made
    holding.wanted.set()
    asked, given = asyncio.Event(), asyncio.Event()

    async def pass_on() -> FakeHolding:
        asked.set()
        await given.wait()
        return case.limiter.make("gpu")

    holding.pass_on = pass_on  # type: ignore[method-assign]
    passing = asyncio.create_task(case.turn.after_work(ready=True, behind=False))
    await asked.wait()
    assert case.counts == {"waiting": 1, "holding": 0}
    before = now()
    given.set()
    await passing
    (hold,) = case.holds
    assert (hold.fence, hold.end <= before) == (1, True)
    assert case.counts == {"waiting": 0, "holding": 1}


async def test_a_hold_whose_passing_on_is_cancelled_is_recorded() -> None:
    case = Case(gpu("0s"))
    await case.turn.enter()
    (holding,) = case.limiter.made
    holding.wanted.set()

    async def pass_on() -> FakeHolding:
        await asyncio.Event().wait()
        raise AssertionError

    holding.pass_on = pass_on  # type: ignore[method-assign]
    passing = asyncio.create_task(case.turn.after_work(ready=True, behind=False))
    for _ in range(5):
        await asyncio.sleep(0)
    passing.cancel()
    await asyncio.gather(passing, return_exceptions=True)
    assert [hold.fence for hold in case.holds] == [1]
    assert not case.turn.holding
    assert case.counts == {"waiting": 0, "holding": 0}


async def test_a_hold_of_zero_passes_a_wanted_slot_on_after_each_unit_and_lets_an_idle_one_go() -> None:
    case = Case(gpu("0s"))
    await case.turn.enter()
    await case.turn.after_work(ready=True, behind=False)
    assert case.limiter.log == ["acquire gpu 1 7"], "nobody waits: no write"
    case.limiter.made[0].wanted.set()
    await case.turn.after_work(ready=True, behind=False)
    assert case.limiter.log[-1] == "pass on gpu"
    await case.turn.after_work(ready=False, behind=False)
    assert case.limiter.log[-1] == "release gpu"


async def test_idle_ends_when_the_slot_is_wanted() -> None:
    case = Case(gpu("1h"))
    await case.turn.enter()
    idle = asyncio.create_task(case.turn.idle())
    await asyncio.sleep(0)
    assert not idle.done()
    case.limiter.made[0].wanted.set()
    async with asyncio.timeout(1):
        await idle


async def test_idle_ends_after_hold() -> None:
    case = Case(gpu("20ms"))
    await case.turn.enter()
    async with asyncio.timeout(1):
        await case.turn.idle()


async def test_a_slot_that_was_lost_is_not_used_and_asked_for_again() -> None:
    case = Case(gpu())
    await case.turn.enter()
    case.limiter.made[0].valid = False
    await case.turn.enter()
    assert case.limiter.log == ["acquire gpu 1 7", "release gpu", "acquire gpu 1 7"]


async def test_several_limits_are_taken_in_the_order_of_their_names_and_never_passed_on_one_by_one() -> None:
    case = Case(StepLimit(name="licence", hold="0s"), StepLimit(name="gpu", slots=2, hold="0s"))
    await case.turn.enter()
    assert case.limiter.log == ["acquire gpu 2 7", "acquire licence 1 7"]
    case.limiter.made[0].wanted.set()
    await case.turn.after_work(ready=True, behind=False)
    assert case.limiter.log[2:] == ["release licence", "release gpu", "acquire gpu 2 7", "acquire licence 1 7"]


async def test_a_slot_that_is_lost_while_another_limit_is_waited_for_is_asked_for_again() -> None:
    case = Case(StepLimit(name="a"), StepLimit(name="b"))
    taken = case.limiter.acquire

    async def acquire(limit: str, *, slots: int, priority: int) -> FakeHolding:
        if limit == "b" and len(case.limiter.made) == 1:
            case.limiter.made[0].valid = False
        return await taken(limit, slots=slots, priority=priority)

    case.limiter.acquire = acquire  # type: ignore[method-assign]
    await case.turn.enter()
    assert case.limiter.log == [
        "acquire a 1 7",
        "acquire b 1 7",
        "release b",
        "release a",
        "acquire a 1 7",
        "acquire b 1 7",
    ]
    assert case.counts == {"waiting": 0, "holding": 2}


async def test_a_wait_that_is_cancelled_gives_back_what_was_taken_before() -> None:
    case = Case(StepLimit(name="a"), StepLimit(name="b"))
    taken = case.limiter.acquire

    async def acquire(limit: str, *, slots: int, priority: int) -> FakeHolding:
        if limit == "b":
            await asyncio.Event().wait()
        return await taken(limit, slots=slots, priority=priority)

    case.limiter.acquire = acquire  # type: ignore[method-assign]
    entering = asyncio.create_task(case.turn.enter())
    for _ in range(5):
        await asyncio.sleep(0)
    assert case.counts == {"waiting": 1, "holding": 1}
    entering.cancel()
    await asyncio.gather(entering, return_exceptions=True)
    assert case.limiter.log == ["acquire a 1 7", "release a"]
    assert case.counts == {"waiting": 0, "holding": 0}


async def test_the_record_of_a_hold_tells_how_much_of_it_was_work() -> None:
    case = Case(gpu())
    await case.turn.enter()
    async with case.turn.working():
        await asyncio.sleep(0.02)
    await case.turn.leave()
    (hold,) = case.holds
    assert hold.asked <= hold.start <= hold.end
    assert 0.02 <= hold.busy <= hold.end - hold.start
    assert (hold.limit, hold.slot, hold.fence, hold.node, hold.boot) == ("gpu", 0, 1, "n", "b")

import asyncio

from imagejob_runner.pipeline.budget import Budget, Door


async def test_a_request_waits_until_enough_is_given_back() -> None:
    budget = Budget(10)
    await budget.take(1, 8)
    second = asyncio.create_task(budget.take(1, 4))
    await asyncio.sleep(0)
    assert not second.done()
    await budget.give_back(1, 3)
    await second
    assert budget.used == 9


async def test_what_is_not_free_is_not_taken_now() -> None:
    budget = Budget(10)
    assert budget.take_now(1, 8)
    assert not budget.take_now(1, 4)
    assert budget.used == 8


async def test_one_that_is_larger_than_the_budget_goes_alone() -> None:
    budget = Budget(10)
    await budget.take(1, 1)
    large = asyncio.create_task(budget.take(1, 100))
    await asyncio.sleep(0)
    assert not large.done()
    await budget.give_back(1, 1)
    await large
    assert budget.used == 100


async def test_an_older_chunk_never_waits_for_a_younger_one() -> None:
    budget = Budget(10)
    await budget.take(2, 10)
    async with asyncio.timeout(1):
        await budget.take(1, 10)
    younger = asyncio.create_task(budget.take(2, 1))
    await asyncio.sleep(0)
    assert not younger.done()
    await budget.give_back(1, 10)
    await budget.give_back(2, 10)
    await younger


async def test_a_negative_amount_takes_more_at_once() -> None:
    budget = Budget(10)
    await budget.take(1, 5)
    await budget.give_back(1, -20)
    assert budget.used == 25
    await budget.give_back(1, 25)
    assert budget.used == 0


async def test_small_ones_are_inside_together_and_a_large_one_only_by_itself() -> None:
    door = Door()
    assert door.enter_now(alone=False)
    assert door.enter_now(alone=False)
    assert not door.enter_now(alone=True)
    large = asyncio.create_task(door.enter(alone=True))
    await asyncio.sleep(0)
    assert not door.enter_now(alone=False), "a large one that waits would wait for ever"
    small = asyncio.create_task(door.enter(alone=False))
    await door.leave()
    await asyncio.sleep(0)
    assert not large.done()
    await door.leave()
    await large
    assert not door.enter_now(alone=False)
    assert not small.done()
    await door.leave()
    await small


async def test_a_large_one_that_gives_up_waiting_keeps_nobody_out() -> None:
    door = Door()
    assert door.enter_now(alone=False)
    large = asyncio.create_task(door.enter(alone=True))
    await asyncio.sleep(0)
    small = asyncio.create_task(door.enter(alone=False))
    await asyncio.sleep(0)
    large.cancel()
    await asyncio.wait_for(small, 5)

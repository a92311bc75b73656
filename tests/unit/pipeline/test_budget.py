import asyncio

from imagejob_runner.pipeline.budget import Budget


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

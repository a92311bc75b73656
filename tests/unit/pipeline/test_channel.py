import asyncio

from imagejob_runner.pipeline.channel import Channel


async def test_items_come_out_in_the_order_they_went_in() -> None:
    channel: Channel[int] = Channel(3)
    for number in range(3):
        await channel.put([number])
    assert [channel.take(1) for _ in range(3)] == [[0], [1], [2]]


async def test_put_waits_while_the_channel_is_full() -> None:
    channel: Channel[int] = Channel(1)
    await channel.put([1])
    assert channel.full
    second = asyncio.create_task(channel.put([2]))
    await asyncio.sleep(0)
    assert not second.done()
    assert channel.take(1) == [1]
    await second
    assert channel.take(1) == [2]


async def test_what_is_inside_can_be_taken_after_the_last_producer_has_closed() -> None:
    channel: Channel[int] = Channel(2, producers=2)
    await channel.put([1])
    channel.close()
    assert not channel.closed
    channel.close()
    assert channel.closed
    assert await channel.wait_ready()
    assert channel.take(1) == [1]
    assert not await channel.wait_ready()
    assert channel.take(1) == []


async def test_closing_wakes_a_waiting_reader() -> None:
    channel: Channel[int] = Channel(1)
    reader = asyncio.create_task(channel.wait_ready())
    await asyncio.sleep(0)
    channel.close()
    assert await reader is False


async def test_take_gives_what_is_ready_and_never_waits() -> None:
    channel: Channel[int] = Channel(5)
    assert channel.take(3) == []
    for number in range(5):
        await channel.put([number])
    assert channel.take(3) == [0, 1, 2]
    assert channel.take(3) == [3, 4]


async def test_closing_with_drop_discards_what_is_inside_and_frees_a_blocked_producer() -> None:
    channel: Channel[int] = Channel(1, producers=3)
    await channel.put([1])
    blocked = asyncio.create_task(channel.put([2]))
    await asyncio.sleep(0)
    channel.close(drop=True)
    await blocked
    assert channel.closed


async def test_a_producer_that_is_expected_later_keeps_the_channel_open() -> None:
    channel: Channel[int] = Channel(1)
    channel.expect()
    channel.close()
    assert not channel.closed
    channel.close()
    assert channel.closed


async def test_after_a_drop_nobody_is_expected() -> None:
    channel: Channel[int] = Channel(1)
    channel.close(drop=True)
    channel.expect()
    assert channel.closed
    assert not await channel.wait_ready()


async def test_a_reader_can_wait_for_several_items() -> None:
    channel: Channel[int] = Channel(5)
    await channel.put([0])
    reader = asyncio.create_task(channel.wait_ready(least=2))
    await asyncio.sleep(0)
    assert not reader.done()
    await channel.put([1])
    assert await reader
    last = asyncio.create_task(channel.wait_ready(least=3))
    await asyncio.sleep(0)
    channel.close()
    assert await last, "no more will come"

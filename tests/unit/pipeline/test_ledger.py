import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError, SkipImage
from imagejob_runner.item import ImageItem
from imagejob_runner.pipeline.flight import ChunkInFlight, Flight, Ledger


class Book:
    """Commits that a test lets through one by one."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.written: list[ChunkInFlight] = []
        self.may_write = asyncio.Event()
        self.may_write.set()

    async def commit(self, chunk: ChunkInFlight) -> None:
        self.begun.append(chunk.sequence)
        await self.may_write.wait()
        self.written.append(chunk)


def chunk_of(ledger: Ledger, sequence: int, size: int) -> list[Flight]:
    chunk = ChunkInFlight(sequence, sequence, [None] * size, size)
    ledger.open(chunk)
    return [Flight(ImageItem(f"{sequence}-{place}", "file:///x"), chunk, place) for place in range(size)]


@asynccontextmanager
async def open_ledger(book: Book) -> AsyncIterator[Ledger]:
    ledger = Ledger(book.commit)
    commits = asyncio.create_task(ledger.commit_chunks())
    try:
        yield ledger
    finally:
        await ledger.close()
        await commits


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_rows_stand_in_the_order_of_the_inputs_whatever_order_they_end_in() -> None:
    book = Book()
    async with open_ledger(book) as ledger:
        first, second, third = chunk_of(ledger, 1, 3)
        await ledger.finish(third, SkipImage("not today"))
        await ledger.finish(first)
        await settled()
        assert book.written == []
        await ledger.finish(second, ImageError(ErrorCode.NOT_FOUND, "gone"))
    (chunk,) = book.written
    assert [row["id"] for row in chunk.rows if row] == ["1-0", "1-1", "1-2"]
    assert [row["status"] for row in chunk.rows if row] == ["ok", "failed", "skipped"]
    assert [row["error"] and row["error"]["code"] for row in chunk.rows if row] == [None, "NotFound", "Skipped"]


async def test_the_next_chunk_waits_at_the_gate_until_the_last_is_written() -> None:
    book = Book()
    async with open_ledger(book) as ledger:
        old, young = chunk_of(ledger, 1, 3), chunk_of(ledger, 2, 3)
        assert await ledger.admit(old[0])
        waiting = [asyncio.create_task(ledger.admit(flight)) for flight in young]
        assert await ledger.admit(old[1])
        await ledger.finish(old[2], ImageError(ErrorCode.NOT_FOUND, "gone"))
        await settled()
        assert ledger.at_gate == 3

        book.may_write.clear()
        await ledger.finish(old[0])
        await ledger.finish(old[1])
        await settled()
        assert book.begun == [1]
        assert not any(task.done() for task in waiting), "the write is under way"
        book.may_write.set()
        assert all(await asyncio.gather(*waiting))
        assert ledger.at_gate == 0


async def test_a_crash_costs_one_chunk_however_small_chunks_are() -> None:
    book = Book()
    async with open_ledger(book) as ledger:
        flights = [flight for sequence in range(1, 6) for flight in chunk_of(ledger, sequence, 2)]
        waiting = [asyncio.create_task(ledger.admit(flight)) for flight in flights]
        for first in range(0, len(flights), 2):
            await asyncio.wait_for(asyncio.gather(*waiting[first : first + 2]), 5)
            await settled()
            assert sum(task.done() for task in waiting) == first + 2
            for flight in flights[first : first + 2]:
                await ledger.finish(flight)
    assert [chunk.sequence for chunk in book.written] == [1, 2, 3, 4, 5]


async def test_the_end_of_an_image_does_not_wait_for_a_write_and_one_chunk_is_written_at_a_time() -> None:
    book = Book()
    book.may_write.clear()
    async with open_ledger(book) as ledger:
        for sequence in (1, 2, 3):
            (flight,) = chunk_of(ledger, sequence, 1)
            await asyncio.wait_for(ledger.finish(flight), 5)
        await settled()
        assert (book.begun, book.written) == ([1], [])
        book.may_write.set()
    assert [chunk.sequence for chunk in book.written] == [1, 2, 3], "oldest first, and all that is whole before the end"


async def test_a_young_chunk_that_is_whole_does_not_wait_for_an_old_one_that_is_not() -> None:
    book = Book()
    async with open_ledger(book) as ledger:
        _, (young,) = chunk_of(ledger, 1, 1), chunk_of(ledger, 2, 1)
        await ledger.finish(young)
    assert [chunk.sequence for chunk in book.written] == [2]


async def test_after_stop_nothing_passes_the_gate() -> None:
    ledger = Ledger(Book().commit)
    old, young = chunk_of(ledger, 1, 2), chunk_of(ledger, 2, 1)
    waiting = asyncio.create_task(ledger.admit(young[0]))
    await settled()
    await ledger.stop()
    assert await waiting is False
    assert await ledger.admit(old[0]) is False

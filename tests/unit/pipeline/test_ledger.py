import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError, SkipImage
from imagejob_runner.item import ImageItem
from imagejob_runner.pipeline.flight import ChunkInFlight, Flight
from imagejob_runner.pipeline.ledger import Ledger


class Book:
    """Commits that a test lets through one by one."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.written: list[ChunkInFlight] = []
        self.told: list[int] = []
        self.may_write = asyncio.Event()
        self.may_write.set()

    async def commit(self, chunk: ChunkInFlight) -> None:
        self.begun.append(chunk.sequence)
        await self.may_write.wait()
        self.written.append(chunk)

    def committed(self, chunk: ChunkInFlight) -> None:
        assert chunk in self.written
        self.told.append(chunk.sequence)


def chunk_of(sequence: int, size: int) -> list[Flight]:
    chunk = ChunkInFlight(sequence, sequence, [None] * size, size)
    return [Flight(ImageItem(f"{sequence}-{place}", "file:///x"), chunk, place) for place in range(size)]


@asynccontextmanager
async def open_ledger(book: Book) -> AsyncIterator[Ledger]:
    ledger = Ledger(book.commit, book.committed)
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
        first, second, third = chunk_of(1, 3)
        await ledger.finish(third, SkipImage("not today"))
        await ledger.finish(first)
        await settled()
        assert book.written == []
        await ledger.finish(second, ImageError(ErrorCode.NOT_FOUND, "gone"))
    (chunk,) = book.written
    assert [row["id"] for row in chunk.rows if row] == ["1-0", "1-1", "1-2"]
    assert [row["status"] for row in chunk.rows if row] == ["ok", "failed", "skipped"]
    assert [row["error"] and row["error"]["code"] for row in chunk.rows if row] == [None, "NotFound", "Skipped"]


async def test_the_end_of_an_image_does_not_wait_for_a_write_and_one_chunk_is_written_at_a_time() -> None:
    book = Book()
    book.may_write.clear()
    async with open_ledger(book) as ledger:
        for sequence in (1, 2, 3):
            (flight,) = chunk_of(sequence, 1)
            await asyncio.wait_for(ledger.finish(flight), 5)
        await settled()
        assert (book.begun, book.written) == ([1], [])
        book.may_write.set()
    assert [chunk.sequence for chunk in book.written] == [1, 2, 3], "oldest first, and all that is whole before the end"
    assert book.told == [1, 2, 3]


async def test_a_young_chunk_that_is_whole_does_not_wait_for_an_old_one_that_is_not() -> None:
    book = Book()
    async with open_ledger(book) as ledger:
        _, (young,) = chunk_of(1, 1), chunk_of(2, 1)
        await ledger.finish(young)
    assert [chunk.sequence for chunk in book.written] == [2]

import asyncio

from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError, SkipImage
from imagejob_runner.item import ImageItem
from imagejob_runner.pipeline.flight import ChunkInFlight, Flight, Ledger


class Book:
    """Commits that a test lets through one by one."""

    def __init__(self) -> None:
        self.written: list[ChunkInFlight] = []
        self.may_write = asyncio.Event()
        self.may_write.set()

    async def commit(self, chunk: ChunkInFlight) -> None:
        await self.may_write.wait()
        self.written.append(chunk)


def chunk_of(ledger: Ledger, sequence: int, size: int) -> list[Flight]:
    chunk = ChunkInFlight(sequence, sequence, [None] * size, size)
    ledger.open(chunk)
    return [Flight(ImageItem(f"{sequence}-{place}", "file:///x"), chunk, place) for place in range(size)]


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_rows_stand_in_the_order_of_the_inputs_whatever_order_they_end_in() -> None:
    book = Book()
    ledger = Ledger(book.commit, ahead=1)
    first, second, third = chunk_of(ledger, 1, 3)
    await ledger.finish(third, SkipImage("not today"))
    await ledger.finish(first)
    assert book.written == []
    await ledger.finish(second, ImageError(ErrorCode.NOT_FOUND, "gone"))
    (chunk,) = book.written
    assert [row["id"] for row in chunk.rows if row] == ["1-0", "1-1", "1-2"]
    assert [row["status"] for row in chunk.rows if row] == ["ok", "failed", "skipped"]
    assert [row["error"] and row["error"]["code"] for row in chunk.rows if row] == [None, "NotFound", "Skipped"]


async def test_the_next_chunk_waits_at_the_gate_until_every_image_of_the_last_has_ended() -> None:
    book = Book()
    ledger = Ledger(book.commit, ahead=2)
    old, young = chunk_of(ledger, 1, 2), chunk_of(ledger, 2, 3)
    assert await ledger.admit(old[0])
    waiting = [asyncio.create_task(ledger.admit(flight)) for flight in young]
    await ledger.finish(old[0])
    await settled()
    assert not any(task.done() for task in waiting)

    book.may_write.clear()
    last = asyncio.create_task(ledger.finish(old[1]))
    await settled()
    assert [task.done() for task in waiting] == [True, True, False], "while the write is under way, only `ahead` may pass"
    book.may_write.set()
    await last
    assert all(await asyncio.gather(*waiting))


async def test_chunks_are_committed_in_order() -> None:
    book = Book()
    ledger = Ledger(book.commit, ahead=9)
    (old,), (young,) = chunk_of(ledger, 1, 1), chunk_of(ledger, 2, 1)
    early = asyncio.create_task(ledger.finish(young))
    await settled()
    assert book.written == []
    await ledger.finish(old)
    await early
    assert [chunk.sequence for chunk in book.written] == [1, 2]


async def test_after_stop_nothing_passes_the_gate() -> None:
    ledger = Ledger(Book().commit, ahead=1)
    old, young = chunk_of(ledger, 1, 2), chunk_of(ledger, 2, 1)
    waiting = asyncio.create_task(ledger.admit(young[0]))
    await settled()
    await ledger.stop()
    assert await waiting is False
    assert await ledger.admit(old[0]) is False

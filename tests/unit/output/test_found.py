"""Rows that were there before, counted while other work goes on."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from imagejob_runner.output import UNREAD, FoundRows, committed_chunks, remaining
from imagejob_runner.storage import LocalOutput
from tests.unit.output.conftest import DoneJob

Done = Callable[..., Awaitable[DoneJob]]


async def test_their_number_is_known_at_once_and_their_status_when_they_are_read(done: Done) -> None:
    job = await done()
    found = FoundRows(job.output, job.plan)
    found.expect(await committed_chunks(job.output, job.plan))
    assert found.statuses == Counter({UNREAD: 10})
    await found.read()
    assert +found.statuses == Counter({"ok": 8, "failed": 1, "skipped": 1})


async def test_a_part_that_cannot_be_read_stays_unread(done: Done, caplog: pytest.LogCaptureFixture) -> None:
    job = await done()
    job.path(0).write_bytes(b"damaged")
    found = FoundRows(job.output, job.plan)
    found.expect([0, 1])
    await found.read()
    assert found.statuses[UNREAD] == 3
    assert found.statuses.total() == 6
    assert "cannot be counted" in caplog.text


@pytest.mark.parametrize(("size", "most"), [(3, 4), (4096, 4), (8192, 2), (131_072, 1)])
async def test_the_larger_the_parts_the_fewer_are_read_at_once(done: Done, monkeypatch: pytest.MonkeyPatch, size: int, most: int) -> None:
    job = await done()
    read, at_once, peak = LocalOutput.read, 0, 0

    async def counted(self: LocalOutput, name: str) -> bytes | None:
        nonlocal at_once, peak
        at_once += 1
        peak = max(peak, at_once)
        await asyncio.sleep(0)  # all that may begin have begun
        data = await read(self, name)
        at_once -= 1
        return data

    monkeypatch.setattr(LocalOutput, "read", counted)
    found = FoundRows(job.output, job.plan.model_copy(update={"chunk_size": size, "total": 4 * size}))
    found.expect(range(4))
    await found.read()
    assert peak == most


def test_what_is_known_is_taken_off() -> None:
    found = Counter({"ok": 5, "failed": 1, UNREAD: 4})
    assert +remaining(found, Counter({"ok": 7, "failed": 1})) == Counter({UNREAD: 2})
    assert +remaining(found, Counter()) == found

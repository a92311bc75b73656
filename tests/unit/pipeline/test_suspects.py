"""Large decodings are noted; those that have ended processes get a row."""

import asyncio
from pathlib import Path

import pytest

from imagejob_runner.constants import SUSPECTS_FOLDER, ErrorCode
from imagejob_runner.exceptions import ImageError, StorageError
from imagejob_runner.item import ImageItem
from imagejob_runner.pipeline import suspects as suspects_module
from imagejob_runner.pipeline.flight import ChunkInFlight, Flight
from imagejob_runner.pipeline.suspects import Suspects
from imagejob_runner.storage import LocalOutput, OutputStore, open_output

GIB = 2**30


def flight(position: int = 0) -> Flight:
    item = ImageItem(f"image-{position}", "/x", provenance={"format": "PNG", "width": 9000, "height": 8000})
    return Flight(item, ChunkInFlight(1, 7, [], 1), position)


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OutputStore:
    has(monkeypatch, GIB)
    return open_output(str(tmp_path))


def has(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(suspects_module, "memory_limit", lambda: limit)
    monkeypatch.setattr(suspects_module, "own_memory", lambda: GIB // 4)


async def names(output: OutputStore) -> list[str]:
    return [name async for name in output.names(SUSPECTS_FOLDER)]


async def test_what_ends_well_leaves_no_note(output: OutputStore) -> None:
    suspects = Suspects(output)
    await suspects.begin(flight(), 1000)
    assert await names(output) == [f"{SUSPECTS_FOLDER}/00007-00000-1000-{GIB}-1"]
    await suspects.end(flight())
    assert await names(output) == []


async def test_what_has_ended_two_processes_is_not_tried_again_nor_what_is_larger(output: OutputStore) -> None:
    await Suspects(output).begin(flight(), 1000)
    await Suspects(output).begin(flight(), 1000)
    third = Suspects(output)
    with pytest.raises(ImageError, match=r"PNG of 9000x8000 pixels .* has ended 2 processes that could use 1,024 MiB") as error:
        await third.begin(flight(), 1000)
    assert (error.value.code, error.value.retryable) == (ErrorCode.TOO_LARGE_TO_DECODE, False)
    with pytest.raises(ImageError):
        await third.begin(flight(1), 1001)
    await third.begin(flight(2), 999)


async def test_more_memory_is_another_matter(output: OutputStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await Suspects(output).begin(flight(), 1000)
    await Suspects(output).begin(flight(), 1000)
    has(monkeypatch, 2 * GIB)
    await Suspects(output).begin(flight(), 1000)


async def test_who_may_not_delete_says_that_it_is_over(output: OutputStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_self: LocalOutput, name: str) -> None:
        raise StorageError(f"cannot delete {name}")

    monkeypatch.setattr(LocalOutput, "delete", refuse)
    for _ in range(3):
        suspects = Suspects(output)
        await suspects.begin(flight(), 1000)
        await suspects.end(flight())
    assert len(await names(output)) == 1


async def test_who_is_cancelled_while_noting_leaves_no_note(output: OutputStore, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = LocalOutput.replace

    async def cancelled(self: LocalOutput, name: str, data: bytes) -> None:
        await replace(self, name, data)
        raise asyncio.CancelledError

    monkeypatch.setattr(LocalOutput, "replace", cancelled)
    suspects = Suspects(output)
    with pytest.raises(asyncio.CancelledError):
        await suspects.begin(flight(), 1000)
    assert len(await names(output)) == 1
    await suspects.end(flight())
    assert await names(output) == []


def test_what_cannot_fit_is_not_even_tried(output: OutputStore) -> None:
    suspects = Suspects(output)
    suspects.ready()
    suspects.check_room(flight(), 3 * GIB // 4)
    with pytest.raises(ImageError, match=r"takes about 769 MiB, and this process can have 768 MiB for it .* give it more memory") as error:
        suspects.check_room(flight(), 3 * GIB // 4 + 2**20)
    assert error.value.code == ErrorCode.TOO_LARGE_TO_DECODE

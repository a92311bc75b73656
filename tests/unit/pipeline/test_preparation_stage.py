"""Pipelines that begin with a download and a picture: real worker processes, under a real engine."""

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagejob_runner.constants import SUSPECTS_FOLDER, ErrorCode
from imagejob_runner.exceptions import StorageError
from imagejob_runner.item import ImageItem
from imagejob_runner.pipeline.engine import EngineSettings
from imagejob_runner.rows import Row
from imagejob_runner.storage import LocalOutput, open_output
from tests.unit.pipeline.levers import Workshop, ids, quiet, step, until
from tests.unit.pipeline.test_engine import FreeForAll

DOWNLOAD = {"name": "download", "download": {}}
SHRINK = {"name": "shrink", "transform": {"operations": [{"thumbnail": {"width": 10, "height": 10}}]}}
SIDE = 100


def picture(side: int = SIDE) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(written, "PNG")
    return written.getvalue()


def fill(folder: Path, chunks: list[int], **others: bytes) -> None:
    for name in (name for chunk, size in enumerate(chunks) for name in ids(chunk, size)):
        (folder / name).write_bytes(others.get(name, picture()))


def by_id(rows: list[Row]) -> dict[str, Row]:
    return {row["id"]: row for row in rows}


async def test_each_image_has_its_row_and_a_bad_one_fails_alone(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    async def look(item: ImageItem) -> None:
        assert item.image is not None
        seen.append(item.image.size)

    fill(tmp_path, [40, 3], **{"0-7": b"", "0-8": b"GIF89a rubbish", "1-1": picture()[:60]})
    (tmp_path / "0-9").unlink()
    shop = Workshop([DOWNLOAD, SHRINK, step("look", look)], [40, 3], folder=str(tmp_path))
    await shop.run()
    rows = by_id(shop.rows)
    assert [row["id"] for chunk in sorted(shop.committed, key=lambda chunk: chunk.sequence) for row in chunk.rows if row] == ids(
        0, 40
    ) + ids(1, 3)
    failed = {name: row["error"]["code"] for name, row in rows.items() if row["error"]}
    assert failed == {"0-7": "EmptyFile", "0-8": "CorruptImage", "0-9": "NotFound", "1-1": "TruncatedImage"} | {
        name: code for name, code in failed.items() if name == "0-8"
    }
    assert seen == [(10, 10)] * 39
    good = rows["0-0"]
    assert (good["provenance"]["width"], good["provenance"]["format"], good["provenance"]["inputBytes"]) == (SIDE, "PNG", len(picture()))
    assert set(good["timings"]) == {"download", "shrink", "look"}
    assert (shop.engine.progress.stage_images["shrink"], shop.engine.progress.failed) == (39 + 3, 4)
    assert shop.engine._memory.decoded.used == 0


async def test_what_takes_more_than_a_worker_may_take_waits_for_room_and_large_ones_leave_no_note(tmp_path: Path) -> None:
    fill(tmp_path, [6])
    settings = EngineSettings(cpus=2, max_decoded=4 * SIDE * SIDE, large=4 * SIDE * SIDE)
    shop = Workshop([DOWNLOAD, SHRINK, {"name": "save", "save": {}}], [6], folder=str(tmp_path), settings=settings)
    output = open_output(str(tmp_path / "output"))
    shop.engine._memory.suspects._output = output
    await shop.run()
    assert {row["status"] for row in shop.rows} == {"ok"}
    assert shop.engine._memory.decoded.used == 0
    assert [name async for name in output.names(SUSPECTS_FOLDER)] == []


async def test_what_cannot_fit_is_refused_by_name_and_takes_nothing_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, [3], **{"0-1": picture(400)})
    monkeypatch.setattr("imagejob_runner.pipeline.suspects.memory_limit", lambda: 10**6)
    monkeypatch.setattr("imagejob_runner.pipeline.suspects.own_memory", lambda: 5 * 10**5)
    settings = EngineSettings(cpus=2, max_decoded=10**5, large=10**5)
    shop = Workshop([DOWNLOAD, SHRINK, {"name": "save", "save": {}}], [3], folder=str(tmp_path), settings=settings)
    await shop.run()
    rows = by_id(shop.rows)
    assert {name: row["status"] for name, row in rows.items()} == {"0-0": "ok", "0-1": "failed", "0-2": "ok"}
    assert rows["0-1"]["error"]["code"] == ErrorCode.TOO_LARGE_TO_DECODE
    assert "400x400" in rows["0-1"]["error"]["message"]


async def test_a_note_that_cannot_be_written_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise StorageError("no space left")

    monkeypatch.setattr(LocalOutput, "replace", full)
    fill(tmp_path, [2])
    settings = EngineSettings(cpus=1, max_decoded=10**4, large=10**4)
    shop = Workshop([DOWNLOAD, SHRINK, {"name": "save", "save": {}}], [2], folder=str(tmp_path), settings=settings)
    shop.engine._memory.suspects._output = open_output(str(tmp_path / "output"))
    with pytest.raises(StorageError, match="no space left"):
        await shop.run()


@pytest.mark.parametrize("young", [3, 70], ids=["few", "more than a worker is handed at once"])
async def test_pictures_that_are_kept_are_bounded_and_stragglers_of_old_chunks_get_through(tmp_path: Path, young: int) -> None:
    looked: list[str] = []
    late = asyncio.Event()

    async def look(item: ImageItem) -> None:
        if item.id in ("0-0", "1-0"):
            await late.wait()
        looked.append(item.id)

    fill(tmp_path, [1, 1, young])
    whole = {"name": "whole", "transform": {}}
    steps: list[dict[str, Any]] = [DOWNLOAD, whole, step("look", look, limits=("alpha",), concurrency=2)]
    settings = EngineSettings(cpus=2, max_decoded=2 * 7 * SIDE * SIDE)  # 7 bytes a pixel until it has been handed on, 4 from then on
    shop = Workshop(steps, [1, 1, young], limiter=FreeForAll(), folder=str(tmp_path), settings=settings)
    running = asyncio.create_task(shop.run())
    await until(lambda: shop.engine.progress.stage_images["whole"] >= 2)
    await quiet(lambda: shop.engine._memory.decoded.used)
    assert shop.engine._memory.decoded.used <= 2 * settings.max_decoded
    late.set()
    await running
    assert sorted(looked) == sorted(ids(0, 1) + ids(1, 1) + ids(2, young))
    assert shop.engine._memory.decoded.used == 0


async def test_stop_drops_what_is_prepared_and_ends_soon(tmp_path: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def look(_: ImageItem) -> None:
        begun.set()
        await go_on.wait()

    fill(tmp_path, [100])
    shop = Workshop([DOWNLOAD, SHRINK, step("look", look)], [100], folder=str(tmp_path))
    running = asyncio.create_task(shop.run())
    await begun.wait()
    await shop.engine.stop()
    go_on.set()
    await asyncio.wait_for(running, 5)
    assert shop.rows == []

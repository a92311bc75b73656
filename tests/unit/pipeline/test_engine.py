"""The engine as a whole, with steps that a test lets go on by hand."""

import asyncio
import io
import itertools
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError, StorageError
from imagejob_runner.images import decode
from imagejob_runner.item import ImageItem
from imagejob_runner.pipeline.engine import EngineSettings
from imagejob_runner.pipeline.flight import ChunkInFlight
from imagejob_runner.pipeline.turn import now
from nodelease import LeaseClient
from tests.unit.pipeline.levers import Workshop, ids, quiet, step, until


def _picture() -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (100, 100)).save(written, "PNG")
    return written.getvalue()


PICTURE = _picture()


@pytest.fixture
async def client() -> AsyncIterator[LeaseClient]:
    with tempfile.TemporaryDirectory(prefix="imagejob-") as folder, LeaseClient.local("test", Path(folder)) as client:
        for limit in ("alpha", "beta"):
            client.define(limit, slots=1)
        yield client


async def nothing(_: ImageItem) -> None:
    """Done at once."""


async def test_rows_stand_in_the_order_of_the_inputs_whatever_order_images_end_in() -> None:
    ended: list[str] = []

    async def last_first(item: ImageItem) -> str:
        if item.id in ("0-0", "0-1", "0-2"):
            await until(lambda: len(ended) == 3 - int(item.id[2]))
        if item.id.startswith("0-"):
            ended.append(item.id)
        return item.id

    shop = Workshop([step("work", last_first, concurrency=4)], [4, 4])
    await shop.run()
    assert ended == ["0-3", "0-2", "0-1", "0-0"]
    rows = sorted(shop.rows, key=lambda row: row["id"][0])  # the second chunk may be whole, and committed, before the first
    assert [row["id"] for row in rows] == ids(0, 4) + ids(1, 4)
    assert [row["outputs"]["work"] for row in rows] == ids(0, 4) + ids(1, 4)


@pytest.mark.parametrize("workers", [1, 3])
async def test_two_chunks_at_most_are_computed_and_not_committed(workers: int) -> None:
    begun: list[str] = []

    async def work(item: ImageItem) -> None:
        begun.append(item.id)

    shop = Workshop([step("work", work, concurrency=workers)], [8, 8, 8, 8])
    shop.may_commit.clear()
    running = asyncio.create_task(shop.run())
    await until(lambda: len(begun) >= 16)
    await quiet(lambda: len(begun))
    assert sorted(begun) == sorted(ids(0, 8) + ids(1, 8)), "one that is written, and one that is computed meanwhile"
    shop.may_commit.set()
    await running
    assert sorted(begun) == sorted(ids(0, 8) + ids(1, 8) + ids(2, 8) + ids(3, 8))


async def test_a_slot_that_is_wanted_is_kept_while_a_chunk_is_written(client: LeaseClient) -> None:
    shop = Workshop([step("work", nothing, limits=("alpha",), hold="60s", concurrency=1)], [4, 4, 4], limiter=client)
    shop.may_commit.clear()
    running = asyncio.create_task(shop.run())
    await until(lambda: shop.engine.progress.done == 8)
    assert (shop.engine.progress.holding["alpha"], shop.engine.take_holds()) == (1, [])
    shop.may_commit.set()
    await running
    assert len(shop.rows) == 12


async def test_the_next_chunk_is_prepared_while_one_is_computed() -> None:
    prepared: list[str] = []
    computed: list[str] = []

    async def prepare(item: ImageItem) -> None:
        prepared.append(item.id)

    async def compute(item: ImageItem) -> None:
        await until(lambda: "1-3" in prepared)
        computed.append(item.id)

    shop = Workshop([step("prepare", prepare), step("compute", compute, limits=("alpha",))], [4, 4], limiter=FreeForAll())
    await shop.run()
    assert computed == ids(0, 4) + ids(1, 4)


async def test_stop_lets_what_is_computed_finish_and_commits_whole_chunks_only() -> None:
    begun: list[str] = []
    go_on = asyncio.Event()

    async def work(item: ImageItem) -> None:
        begun.append(item.id)
        if item.id == "1-1":
            await go_on.wait()

    shop = Workshop([step("work", work, concurrency=1)], [4, 4, 4])
    running = asyncio.create_task(shop.run())
    await until(lambda: "1-1" in begun)
    await shop.engine.stop()
    await quiet(lambda: len(begun))
    assert not running.done(), "the image that is worked on is not torn from its worker"
    go_on.set()
    await running
    assert begun == [*ids(0, 4), "1-0", "1-1"]
    assert [row["id"] for row in shop.rows] == ids(0, 4)


async def test_stop_commits_the_chunk_whose_last_image_was_being_computed() -> None:
    begun: list[str] = []
    go_on = asyncio.Event()

    async def work(item: ImageItem) -> None:
        begun.append(item.id)
        await go_on.wait()

    shop = Workshop([step("work", work, concurrency=4)], [4, 4])
    running = asyncio.create_task(shop.run())
    await until(lambda: len(begun) == 4)
    await shop.engine.stop()
    go_on.set()
    await running
    assert [row["id"] for row in shop.rows] == ids(0, 4)


async def test_stop_does_not_wait_for_a_slot_that_somebody_else_has() -> None:
    shop = Workshop([step("work", nothing, limits=("alpha",))], [4], limiter=NothingFree())
    running = asyncio.create_task(shop.run())
    await until(lambda: shop.engine.progress.waiting["alpha"] == 1)
    await shop.engine.stop()
    await asyncio.wait_for(running, 5)
    assert shop.engine.progress.waiting["alpha"] == 0
    assert shop.rows == []


async def test_stop_does_not_wait_for_the_pause_before_another_attempt() -> None:
    tried = asyncio.Event()

    async def fail(_: ImageItem) -> None:
        tried.set()
        raise ImageError(ErrorCode.CALL_FAILED, "not now", retryable=True, retry_after=100)

    shop = Workshop([step("work", fail) | {"retries": {"limit": 3}}], [1])
    running = asyncio.create_task(shop.run())
    await tried.wait()
    await quiet(lambda: 0)
    await shop.engine.stop()
    await asyncio.wait_for(running, 5)
    assert shop.rows == []


@pytest.mark.parametrize("young", [8, 20], ids=["for all that wait there is a worker", "more wait than there are workers"])
async def test_stragglers_of_old_chunks_get_memory_that_a_young_chunk_has_filled(young: int) -> None:
    read: list[str] = []
    late = asyncio.Event()

    async def load(item: ImageItem) -> None:
        if item.id in ("0-0", "1-0"):
            await late.wait()
        item.data = PICTURE
        read.append(item.id)

    steps = [step("load", load, concurrency=8), {"name": "decode", "transform": {}}, step("work", nothing, limits=("alpha",))]
    shop = Workshop(steps, [2, 1, young], limiter=FreeForAll(), settings=EngineSettings(cpus=4, max_decoded=5 * 4 * 100 * 100))
    running = asyncio.create_task(shop.run())
    pixels = shop.engine._memory.decoded
    await until(lambda: len(read) == 1 + young and pixels.used == 5 * 4 * 100 * 100)
    await quiet(lambda: shop.engine.progress.done)
    late.set()
    await running
    assert sorted(row["id"] for row in shop.rows) == sorted(ids(0, 2) + ids(1, 1) + ids(2, young))
    assert {row["status"] for row in shop.rows} == {"ok"}
    assert pixels.used == 0


async def test_waiting_for_memory_takes_nothing_of_the_time_of_a_step(tmp_path: Path) -> None:
    for name in ids(0, 3):
        (tmp_path / name).write_bytes(PICTURE)
    timeout = 0.5

    async def work(item: ImageItem) -> None:
        if item.id == "0-0":
            begun = now()
            await until(lambda: now() - begun > 1.5 * timeout)

    download = {"name": "download", "download": {}, "timeout": f"{1000 * timeout:.0f}ms", "retries": {"limit": 0}}
    steps = [download, step("work", work, limits=("alpha",))]
    shop = Workshop(steps, [3], limiter=FreeForAll(), folder=str(tmp_path), settings=EngineSettings(cpus=2, max_bytes=1))
    await shop.run()
    assert [(row["status"], row["error"]) for row in shop.rows] == [("ok", None)] * 3
    assert shop.engine.progress.stage_images["download"] == 3
    assert shop.engine._memory.bytes.used == 0


async def test_an_image_that_waits_for_memory_does_not_keep_a_slot_that_is_wanted(client: LeaseClient) -> None:
    go_on = asyncio.Event()

    async def load(item: ImageItem) -> None:
        item.data = PICTURE

    async def look(_: ImageItem) -> None:
        await go_on.wait()

    limited = {"name": "decode", "transform": {}, "limits": [{"name": "alpha", "hold": "60s"}]}
    steps = [step("load", load), limited, step("look", look)]
    shop = Workshop(steps, [2], limiter=client, settings=EngineSettings(cpus=2, max_decoded=1))
    running = asyncio.create_task(shop.run())
    await until(lambda: shop.engine.progress.stage_images["decode"] == 1)
    holding = await client.acquire("alpha", timeout=5)
    await holding.release()
    go_on.set()
    await running
    assert {row["status"] for row in shop.rows} == {"ok"}


async def test_stop_does_not_wait_for_memory_that_others_hold() -> None:
    go_on = asyncio.Event()

    async def load(item: ImageItem) -> None:
        item.data = PICTURE

    async def look(_: ImageItem) -> None:
        await go_on.wait()

    steps = [step("load", load, limits=("alpha",)), {"name": "decode", "transform": {}}, step("look", look)]
    shop = Workshop(steps, [3], limiter=FreeForAll(), settings=EngineSettings(cpus=2, max_decoded=1))
    running = asyncio.create_task(shop.run())
    await until(lambda: shop.engine.progress.stage_images["load"] == 3 and shop.engine.progress.stage_images["decode"] == 1)
    await quiet(lambda: 0)
    await shop.engine.stop()
    go_on.set()
    await asyncio.wait_for(running, 5)
    assert shop.rows == []


async def test_a_decoding_that_outlasts_its_timeout_is_tried_again_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    timeout, under_way, most = 0.5, 0, 0

    async def load(item: ImageItem) -> None:
        item.data = PICTURE

    decoded = decode.decode
    slow = [1.5 * timeout]

    def decode_slowly(data: bytes, *settings: Any) -> Image.Image:  # noqa: ANN401  whatever decode takes
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if slow:
            threading.Event().wait(slow.pop())
        try:
            return decoded(data, *settings)
        finally:
            under_way -= 1

    monkeypatch.setattr(decode, "decode", decode_slowly)
    transform = {"name": "shrink", "transform": {}, "timeout": f"{1000 * timeout:.0f}ms", "retries": {"limit": 1, "backoff": "1ms"}}
    shop = Workshop([step("load", load), transform], [1])
    await shop.run()
    assert [(row["status"], row["error"]) for row in shop.rows] == [("ok", None)]
    assert (slow, most) == ([], 1)


async def test_a_decoding_that_always_outlasts_its_timeout_is_called_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    timeout = 0.05

    async def load(item: ImageItem) -> None:
        item.data = PICTURE

    decoded = decode.decode

    def decode_slowly(data: bytes, *settings: Any) -> Image.Image:  # noqa: ANN401  whatever decode takes
        threading.Event().wait(3 * timeout)
        return decoded(data, *settings)

    monkeypatch.setattr(decode, "decode", decode_slowly)
    transform = {"name": "shrink", "transform": {}, "timeout": f"{1000 * timeout:.0f}ms", "retries": {"limit": 2, "backoff": "1ms"}}
    shop = Workshop([step("load", load), transform], [1])
    await shop.run()
    (row,) = shop.rows
    assert row["error"] is not None
    assert (row["error"]["code"], row["error"]["attempts"]) == (ErrorCode.TIMEOUT, 3)


async def test_young_chunks_that_fail_early_leave_the_workers_to_a_straggler_of_an_old_chunk() -> None:
    loaded: list[str] = []
    late = asyncio.Event()

    async def load(item: ImageItem) -> None:
        if item.id == "0-0":
            await late.wait()
        loaded.append(item.id)

    async def check(item: ImageItem) -> None:
        if item.id != "0-0":
            raise ImageError(ErrorCode.CORRUPT_IMAGE, "no picture")

    steps = [step("load", load, concurrency=8), step("check", check, concurrency=1), step("work", nothing, limits=("alpha",))]
    shop = Workshop(steps, [1, 1, 1, 1], limiter=FreeForAll())
    running = asyncio.create_task(shop.run())
    await until(lambda: len(loaded) == 3)
    await quiet(lambda: shop.engine.progress.failed)
    late.set()
    await running
    assert {row["id"]: row["status"] for row in shop.rows} == {"0-0": "ok", **{f"{chunk}-0": "failed" for chunk in (1, 2, 3)}}


async def test_images_that_fail_early_do_not_pile_up_when_writes_are_slow() -> None:
    tried: list[str] = []

    async def check(item: ImageItem) -> None:
        tried.append(item.id)
        raise ImageError(ErrorCode.NOT_FOUND, "nothing there")

    shop = Workshop([step("check", check, concurrency=2), step("work", nothing, limits=("alpha",))], [1] * 200, limiter=FreeForAll())
    shop.may_commit.clear()
    running = asyncio.create_task(shop.run())
    await quiet(lambda: len(tried))
    assert len(tried) < 50
    shop.may_commit.set()
    await running
    assert len(shop.rows) == 200


async def test_a_write_that_fails_ends_the_run() -> None:
    class FullDisk(Workshop):
        async def _commit(self, chunk: ChunkInFlight) -> None:
            del chunk
            raise StorageError("no space left")

    with pytest.raises(StorageError, match="no space left"):
        await FullDisk([step("work", nothing, concurrency=2)], [3, 3]).run()


async def test_both_limits_of_a_step_are_held_while_it_works_and_crossed_engines_never_lock(client: LeaseClient) -> None:
    held: list[tuple[int, int]] = []

    async def work(_: ImageItem) -> None:
        alpha, beta = [await asyncio.to_thread(client.status, limit) for limit in ("alpha", "beta")]
        held.append((len(alpha.holders), len(beta.holders)))

    shops = [
        Workshop([step(f"work-{number}", work, limits=limits, hold="0s", concurrency=2)], [10], limiter=client)
        for number, limits in enumerate((("alpha", "beta"), ("beta", "alpha")))
    ]
    await asyncio.gather(*(shop.run() for shop in shops))
    assert held == [(1, 1)] * 20
    for shop in shops:
        alpha, beta = ([hold for hold in shop.engine.holds if hold.limit == limit] for limit in ("alpha", "beta"))
        assert len(alpha) == len(beta) > 0
    for limit in ("alpha", "beta"):
        assert client.status(limit).holders == ()
        spans = sorted((hold.start, hold.end) for shop in shops for hold in shop.engine.holds if hold.limit == limit)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans)), "two held one slot"


async def test_a_slot_that_is_wanted_goes_at_once_when_there_is_nothing_to_do(client: LeaseClient) -> None:
    worked, go_on = asyncio.Event(), asyncio.Event()

    async def prepare(item: ImageItem) -> None:
        if item.id == "0-1":
            await go_on.wait()

    async def work(_: ImageItem) -> None:
        worked.set()

    shop = Workshop([step("prepare", prepare), step("work", work, limits=("alpha",), hold="60s")], [2], limiter=client)
    running = asyncio.create_task(shop.run())
    await worked.wait()
    await quiet(lambda: 0)
    assert shop.engine.progress.holding["alpha"] == 1, "with nobody waiting it is kept through a gap"
    holding = await client.acquire("alpha", timeout=5)
    assert holding.granted_at - holding.asked_at < 1
    go_on.set()
    await until(lambda: shop.engine.progress.waiting["alpha"] == 1)
    await holding.release()
    await running
    assert len(shop.rows) == 2


async def test_an_idle_worker_lets_a_wanted_slot_go_while_another_works(client: LeaseClient) -> None:
    client.define("alpha", slots=2)
    inside: list[str] = []
    bring, finish = asyncio.Event(), asyncio.Event()

    async def prepare(item: ImageItem) -> None:
        if item.id == "0-2":
            await bring.wait()
        elif item.id == "0-3":
            await finish.wait()

    async def work(item: ImageItem) -> None:
        inside.append(item.id)
        if item.id == "0-2":
            await finish.wait()
        elif item.id != "0-3":
            await until(lambda: len(inside) >= 2)

    steps = [step("prepare", prepare), step("work", work, limits=("alpha",), hold="60s", concurrency=2)]
    shop = Workshop(steps, [4], limiter=client)
    running = asyncio.create_task(shop.run())
    await until(lambda: shop.engine.progress.stage_images["work"] == 2)
    await quiet(lambda: 0)
    assert shop.engine.progress.holding["alpha"] == 2
    bring.set()
    await until(lambda: len(inside) == 3)
    holding = await client.acquire("alpha", timeout=5)
    assert not running.done()
    await holding.release()
    finish.set()
    await running
    assert len(shop.rows) == 4


async def test_a_busy_holder_passes_the_slot_on_after_its_hold(client: LeaseClient) -> None:
    async def work(_: ImageItem) -> None:
        await asyncio.sleep(0.005)

    shop = Workshop([step("work", work, limits=("alpha",), hold="100ms", concurrency=1)], [200], limiter=client)
    running = asyncio.create_task(shop.run())
    await until(lambda: shop.engine.progress.holding["alpha"] == 1)
    holding = await client.acquire("alpha", timeout=10)
    assert not running.done(), "it was passed on in the middle of the work"
    await holding.release()
    await running
    assert len(shop.rows) == 200
    assert len(shop.engine.holds) == 2


class FreeForAll:
    """A limiter that always has a slot."""

    async def acquire(self, limit: str, *, slots: int, priority: int) -> "FreeHolding":
        del slots, priority
        return FreeHolding(limit)


class NothingFree:
    """A limiter whose slots are never free."""

    async def acquire(self, limit: str, *, slots: int, priority: int) -> "FreeHolding":
        del limit, slots, priority
        await asyncio.Event().wait()
        raise AssertionError


class FreeHolding:
    """A slot that nobody else wants."""

    id, slots, fence, waited, valid, contended = "free-1", (0,), 1, False, True, False
    max_hold_seconds = 60.0

    def __init__(self, limit: str) -> None:
        self.limit, self.asked_at = limit, now()

    async def wait_contended(self) -> None:
        await asyncio.Event().wait()

    async def release(self) -> None:
        """Nobody waits for it."""

    async def pass_on(self) -> "FreeHolding":
        return self

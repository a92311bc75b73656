import asyncio
import contextlib
import gc
import os
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagejob_api.pipeline import Decode, Operation, Preprocess, Thumbnail
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError
from imagejob_runner.images import transform
from imagejob_runner.images.decode import decode, probe
from imagejob_runner.images.preprocess import to_array
from imagejob_runner.images.probe import Probe
from imagejob_runner.preparation.messages import Request
from imagejob_runner.urls import file_url
from tests.tools.photos import encoded, opened, photo, png_bomb
from tests.unit.preparation.workshop import SIDE, HarmfulRecipe, a_pool, a_recipe, a_site, gone, prepared, taken, until, worker_pids

pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")

SMALL = opened("china.jpg").resize((64, 48))
JPEG = encoded(SMALL, "JPEG")
PLAIN = Decode()
PREPROCESS = Preprocess(size=SIDE)
TARGET = transform.draft_target(PREPROCESS)


def corpus() -> dict[str, bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "photo.jpg": photo("china.jpg"),
        **{f"small.{form.lower()}": encoded(SMALL, form) for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")},
        "turned.jpg": encoded(SMALL, "JPEG", exif=exif),
        "turned.png": encoded(SMALL, "PNG", exif=exif),
        "progressive.jpg": encoded(opened("china.jpg"), "JPEG", progressive=True),
        "grey.jpg": encoded(SMALL.convert("L"), "JPEG"),
        "cmyk.jpg": encoded(SMALL.convert("CMYK"), "JPEG"),
        "palette.png": encoded(SMALL.convert("P"), "PNG"),
        "alpha.png": encoded(SMALL.convert("RGBA"), "PNG"),
        "wide.png": encoded(Image.fromarray((np.arange(64 * 48).reshape(48, 64) * 21).astype(np.uint16)), "PNG"),
        "empty": b"",
        "text": b"hello, I am a text named .jpg\n",
        "page.html": b"<!DOCTYPE html><html>",
        "cut.jpg": JPEG[: len(JPEG) // 2],
        "cut.png": encoded(SMALL, "PNG")[:900],
        "broken.jpg": JPEG[:4] + b"\0" * 200,
        "bomb.png": png_bomb(30_000, 30_000),
    }


def directly(data: bytes) -> np.ndarray | ImageError:
    try:
        return to_array(decode(data, PLAIN, TARGET), PREPROCESS)
    except ImageError as error:
        return error


async def test_each_input_ends_as_it_does_when_it_is_decoded_directly(tmp_path: Path) -> None:
    files = corpus()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    names = [*files, "missing.jpg", "."]
    async with a_pool(workers=2) as pool:
        found = await prepared(pool, [Request(number, file_url(tmp_path / name)) for number, name in enumerate(names)])
        for number, name in enumerate(files):
            one, data = found[number], files[name]
            assert one.provenance["inputBytes"] == len(data)
            assert one.attempts == 1
            assert set(one.timings) == {"get", "look"}
            expected = directly(data)
            if isinstance(expected, ImageError):
                assert one.error is not None, name
                assert (one.error.code, one.error.message, one.error.retryable) == (expected.code, expected.message, expected.retryable)
                assert one.array is None
            else:
                assert one.error is None, (name, one.error)
                assert one.array is not None
                assert np.array_equal(one.array, expected), name
                header = probe(data, PLAIN, TARGET)
                told = {key: one.provenance[key] for key in ("format", "width", "height", "draft")}
                assert told == {"format": header.format, "width": header.width, "height": header.height, "draft": header.draft}
        missing, folder = (found[names.index(name)] for name in ("missing.jpg", "."))
        assert missing.error is not None
        assert (missing.error.code, missing.provenance, set(missing.timings)) == (ErrorCode.NOT_FOUND, {}, {"get"})
        assert folder.error is not None
        assert folder.error.code == ErrorCode.INVALID_URL


async def test_provenance_is_in_the_order_of_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    async with a_pool() as pool:
        found = await prepared(pool, [Request(0, str(tmp_path / "a.jpg"))])
    assert list(found[0].provenance) == ["inputSha256", "inputBytes", "format", "width", "height", "draft"]


async def test_bytes_that_are_there_already_are_decoded_and_not_hashed() -> None:
    async with a_pool() as pool:
        found = await prepared(
            pool, [Request(7, "made://up", JPEG), Request(8, "made://up", b""), Request(9, "made://up", photo("china.jpg"))]
        )
        assert found[7].array is not None
        assert np.array_equal(found[7].array, to_array(decode(JPEG, PLAIN, TARGET), PREPROCESS))
        assert set(found[7].provenance) == {"format", "width", "height", "draft"}
        assert found[8].error is not None
        assert found[8].error.code == ErrorCode.EMPTY_FILE
        assert found[9].provenance["width"] == 640


async def test_pictures_that_are_kept_come_back_with_their_profile(tmp_path: Path) -> None:
    profile = b"\0" * 36 + b"acsp" + b"\0" * 88
    (tmp_path / "a.jpg").write_bytes(encoded(opened("china.jpg"), "JPEG", icc_profile=profile))
    (tmp_path / "b.png").write_bytes(encoded(Image.new("RGB", (64, 48), "#123456"), "PNG"))
    (tmp_path / "c.png").write_bytes(b"")
    shrink = [Operation(thumbnail=Thumbnail(width=200, height=200))]
    async with a_pool(a_recipe(operations=shrink, keep_image=True)) as pool:
        found = await prepared(pool, [Request(number, str(tmp_path / name)) for number, name in enumerate(("a.jpg", "b.png", "c.png"))])
        first, second = found[0].image, found[1].image
        assert first is not None
        assert second is not None
        expected = transform.apply(decode((tmp_path / "a.jpg").read_bytes(), PLAIN, (200, 200)), shrink, PLAIN.background)
        assert first.tobytes() == expected.tobytes()
        assert (first.mode, first.size, first.info) == ("RGB", expected.size, {"icc_profile": profile})
        assert (second.size, second.info) == ((64, 48), {})
        assert found[0].array is not None
        assert np.array_equal(found[0].array, to_array(expected, PREPROCESS))
        assert found[2].image is None


async def test_pictures_of_all_sizes_arrive_whole(tmp_path: Path) -> None:
    profile = b"\0" * 36 + b"acsp" + b"\0" * 88
    noise = np.random.default_rng(1)
    pictures = [
        Image.fromarray(noise.integers(0, 256, (*size, 3), np.uint8)) for size in ((1201, 901), (3, 2), (7, 1), (2, 190_000), (900, 700))
    ]
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.png", icc_profile=profile if number % 2 == 0 else None)
    async with a_pool(a_recipe(model=False, keep_image=True), workers=2) as pool:
        requests = [Request(number, str(tmp_path / f"{number % len(pictures)}.png")) for number in range(25)]
        found = await prepared(pool, requests)
    for number, one in found.items():
        expected = pictures[number % len(pictures)]
        assert one.image is not None
        assert one.image.size == expected.size
        assert one.image.tobytes() == expected.tobytes()
        assert one.image.info == ({"icc_profile": profile} if number % len(pictures) % 2 == 0 else {})


async def test_a_picture_that_is_kept_counts_until_it_has_arrived(tmp_path: Path) -> None:
    asked = []

    @contextlib.asynccontextmanager
    async def permit(_: int, probe: Probe) -> AsyncIterator[None]:
        asked.append(probe.memory)
        yield

    (tmp_path / "a.png").write_bytes(encoded(SMALL, "PNG"))
    for operations in ([], [Operation(thumbnail=Thumbnail(width=9, height=9))]):
        async with a_pool(a_recipe(operations=operations, model=False, keep_image=True), large=10, permit=permit) as pool:
            await prepared(pool, [Request(0, str(tmp_path / "a.png"))])
    assert asked == [7 * 64 * 48, 4 * 64 * 48]


async def test_without_a_model_there_is_no_arena(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(SMALL, "PNG"))
    async with a_pool(a_recipe(model=False, keep_image=True)) as pool:
        found = await prepared(pool, [Request(0, str(tmp_path / "a.png"))])
        assert (pool.pixels, found[0].array) == (None, None)
        assert found[0].image is not None


class TestSlots:
    async def test_images_of_one_call_lie_side_by_side(self) -> None:
        async with a_pool(slots=40) as pool:
            first = await prepared(pool, [Request(number, "made://up", JPEG) for number in range(24)])
            assert [first[number].slot for number in range(24)] == list(range(24))
            pool.release(range(16))
            second = await prepared(pool, [Request(number, "made://up", JPEG) for number in range(100, 116)])
            slots = [second[number].slot for number in sorted(second)]
            assert slots == list(range(24, 40))
            assert pool.pixels is not None
            batch = pool.pixels[24:40]
            assert all(np.array_equal(image, second[100].array) for image in batch)

    async def test_no_more_go_in_than_are_free_until_some_are_released(self) -> None:
        async with a_pool(slots=4) as pool:
            await prepared(pool, [Request(number, "made://up", JPEG) for number in range(4)])
            with pytest.raises(ValueError, match="free"):
                pool.submit([Request(9, "made://up", JPEG)])
            waiting = asyncio.create_task(pool.wait_free())
            await asyncio.sleep(0)
            assert not waiting.done()
            pool.release([2])
            assert await waiting == 1

    async def test_numbers_are_unique(self) -> None:
        async with a_pool() as pool:
            for numbers in ([1, 1], [-1]):
                with pytest.raises(ValueError, match="unique"):
                    pool.submit([Request(number, "made://up", JPEG) for number in numbers])
            await prepared(pool, [Request(1, "made://up", JPEG)])
            with pytest.raises(ValueError, match="unique"):
                pool.submit([Request(1, "made://up", JPEG)])
            pool.release([1])
            await prepared(pool, [Request(1, "made://up", JPEG)])


class TestNetworks:
    async def test_a_slow_one_holds_no_other_back(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(JPEG)
        go = asyncio.Event()

        async def answer(path: str) -> tuple[int, dict[str, str], bytes]:
            if path == "/slow":
                await go.wait()
            return 200, {}, JPEG

        async with a_site(answer) as site, a_pool() as pool:
            urls = [f"{site.url}/slow", f"{site.url}/quick", str(tmp_path / "a.jpg")]
            pool.submit([Request(number, url) for number, url in enumerate(urls)])
            found = await taken(pool, 2)
            assert set(found) == {1, 2}
            go.set()
            assert (await taken(pool, 1))[0].error is None

    async def test_as_many_are_fetched_at_once_as_the_step_says(self) -> None:
        go = asyncio.Event()

        async def answer(_: str) -> tuple[int, dict[str, str], bytes]:
            await go.wait()
            return 200, {}, JPEG

        async with a_site(answer) as site, a_pool(a_recipe(download={"concurrency": 6}), workers=2) as pool:
            pool.submit([Request(number, f"{site.url}/{number}") for number in range(40)])
            await until(lambda: len(site.asked) >= 6)
            assert len(site.asked) == 6
            go.set()
            found = await taken(pool, 40)
            assert all(one.error is None for one in found.values())

    async def test_failures_are_tried_again_as_the_step_says(self) -> None:
        answers = {"/once": [503], "/always": [503] * 9, "/gone": [404]}

        async def answer(path: str) -> tuple[int, dict[str, str], bytes]:
            return (answers[path].pop(0), {}, b"") if answers[path] else (200, {}, JPEG)

        async with a_site(answer) as site, a_pool() as pool:
            found = await prepared(pool, [Request(number, site.url + path) for number, path in enumerate(answers)])
        assert (found[0].error, found[0].attempts) == (None, 1)
        assert site.asked.count("/once") == 2
        errors = [(one.error.code, one.attempts) for one in (found[1], found[2]) if one.error is not None]
        assert errors == [(ErrorCode.HTTP_STATUS, 3), (ErrorCode.NOT_FOUND, 1)]

    async def test_a_server_that_does_not_answer_costs_its_image_only(self) -> None:
        async def answer(path: str) -> tuple[int, dict[str, str], bytes]:
            if path == "/never":
                await asyncio.Event().wait()
            return 200, {}, JPEG

        recipe = a_recipe(download={"timeout": "200ms", "retries": {"limit": 1, "backoff": "1ms"}})
        async with a_site(answer) as site, a_pool(recipe) as pool:
            found = await prepared(pool, [Request(0, f"{site.url}/never"), Request(1, f"{site.url}/ever")])
            error = found[0].error
            assert error is not None
            assert (error.code, error.message, found[0].attempts) == (
                ErrorCode.TIMEOUT,
                "step get took longer than its timeout of 0.2 s",
                2,
            )
            assert found[0].timings["get"] > 0
            assert found[1].error is None

    async def test_bytes_in_workers_are_bounded(self) -> None:
        waiting = asyncio.Event()

        async def answer(_: str) -> tuple[int, dict[str, str], bytes]:
            await waiting.wait()
            return 200, {}, JPEG

        async with a_site(answer) as site, a_pool(max_bytes=600 * 1024) as pool:
            pool.submit([Request(number, f"{site.url}/{number}") for number in range(8)])
            await until(lambda: len(site.asked) >= 2)
            assert len(site.asked) == 2, "each is taken for 256 KiB before any is known"
            waiting.set()
            assert len(await taken(pool, 8)) == 8


class TestLarge:
    async def test_it_asks_and_others_go_on(self, tmp_path: Path) -> None:
        (tmp_path / "large.png").write_bytes(encoded(SMALL.resize((300, 300)), "PNG"))
        (tmp_path / "small.png").write_bytes(encoded(SMALL, "PNG"))
        go, log = asyncio.Event(), []

        @contextlib.asynccontextmanager
        async def permit(number: int, probe: Probe) -> AsyncIterator[None]:
            log.append((number, probe))
            await go.wait()
            yield
            log.append((number, "over"))

        async with a_pool(max_decoded=4 * 100_000, permit=permit) as pool:
            pool.submit([Request(0, str(tmp_path / "large.png")), Request(1, str(tmp_path / "small.png"))])
            assert set(await taken(pool, 1)) == {1}
            data = (tmp_path / "large.png").read_bytes()
            assert log == [(0, probe(data, PLAIN, TARGET))]
            go.set()
            found = await taken(pool, 1)
            assert found[0].array is not None
            assert np.array_equal(found[0].array, to_array(decode(data, PLAIN, TARGET), PREPROCESS))
            await until(lambda: log[1:] == [(0, "over")])

    async def test_room_is_given_back_while_it_waits_for_another_attempt(self) -> None:
        log, data = [], encoded(SMALL.resize((300, 300)), "PNG")

        @contextlib.asynccontextmanager
        async def permit(number: int, _: Probe) -> AsyncIterator[None]:
            log.append(f"{number} in")
            yield
            log.append(f"{number} out")

        async with a_pool(a_recipe(made=HarmfulRecipe), max_decoded=4 * 100_000, permit=permit) as pool:
            one = (await prepared(pool, [Request(0, "made://harm-twice", data)]))[0]
            assert (one.error, one.attempts) == (None, 2)
            assert log == ["0 in", "0 out", "0 in", "0 out"]

    async def test_what_is_refused_fails_with_all_that_is_known(self, tmp_path: Path) -> None:
        (tmp_path / "large.png").write_bytes(encoded(SMALL, "PNG"))

        @contextlib.asynccontextmanager
        async def permit(_: int, __: Probe) -> AsyncIterator[None]:
            raise ImageError(ErrorCode.TOO_LARGE_TO_DECODE, "no room")
            yield

        async with a_pool(large=100, permit=permit) as pool:
            one = (await prepared(pool, [Request(0, str(tmp_path / "large.png"))]))[0]
            assert one.error is not None
            assert (one.error.code, one.error.message, one.provenance["width"]) == (ErrorCode.TOO_LARGE_TO_DECODE, "no room", 64)
            assert "inputSha256" in one.provenance

    async def test_what_is_no_fault_of_the_image_reaches_the_runner(self, tmp_path: Path) -> None:
        (tmp_path / "large.png").write_bytes(encoded(SMALL, "PNG"))

        @contextlib.asynccontextmanager
        async def permit(_: int, __: Probe) -> AsyncIterator[None]:
            raise OSError("the output is away")
            yield

        async with a_pool(large=100, permit=permit) as pool:
            pool.submit([Request(0, str(tmp_path / "large.png"))])
            with pytest.raises(OSError, match="away"):
                await pool.take()
            with pytest.raises(OSError, match="away"):
                await pool.wait_free()


def open_files() -> list[str]:
    gc.collect()  # of tests before
    return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208  numbers of files


class TestEnd:
    async def test_nothing_is_left(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(JPEG)
        async with a_pool() as first:  # the server stays
            await prepared(first, [Request(0, str(tmp_path / "a.jpg"))])
        del first
        before = open_files()
        async with a_pool(workers=2) as pool:
            await prepared(pool, [Request(0, str(tmp_path / "a.jpg"))])
            await until(lambda: len(worker_pids(pool)) == 2)
            pids = worker_pids(pool)
        assert await pool.take() == []
        assert await pool.wait_free() == 0
        assert all(map(gone, pids))
        assert open_files() == before

    async def test_what_is_under_way_is_dropped_at_once(self) -> None:
        async def never(_: str) -> tuple[int, dict[str, str], bytes]:
            await asyncio.Event().wait()
            return 200, {}, b""

        async with a_site(never) as site:
            async with a_pool() as pool:
                pool.submit([Request(0, f"{site.url}/a")])
                await until(lambda: site.asked)
                pids = worker_pids(pool)
                begun = asyncio.get_running_loop().time()
            assert asyncio.get_running_loop().time() - begun < 1
            assert all(map(gone, pids))

    async def test_it_may_end_before_it_has_begun(self) -> None:
        async with a_pool(workers=2) as pool:
            pool.submit([Request(0, "made://up", JPEG)])
        await until(lambda: not worker_pids(pool) or all(map(gone, worker_pids(pool))))


async def test_cpu_time_of_workers_is_known() -> None:
    async with a_pool() as pool:
        assert pool.busy_seconds == 0
        await prepared(pool, [Request(number, "made://up", photo("china.jpg")) for number in range(16)])
        assert 0.01 < pool.busy_seconds < 30

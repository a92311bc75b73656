"""Files, package data and objects: the right bytes, or the right code."""

import asyncio
import hashlib
import os
from pathlib import Path

import obstore
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagejob_api.pipeline import Download
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError, InvalidJobError, StorageError
from imagejob_runner.fetch import Fetcher, copy_to, model_file, sha256_of
from imagejob_runner.storage import stores
from imagejob_runner.storage.stores import open_store
from imagejob_runner.urls import file_url
from tests.tools.s3 import S3Server
from tests.unit.fetch.conftest import Serve, ServeRaw


async def fetch(url: str, max_bytes: int = 1000) -> bytes:
    async with Fetcher(Download(max_bytes=max_bytes)) as fetcher:
        return await fetcher.fetch(url)


async def failure(url: str, max_bytes: int = 1000) -> ImageError:
    with pytest.raises(ImageError) as caught:
        await fetch(url, max_bytes)
    return caught.value


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(min_size=1, max_size=200).filter(lambda raw: b"\0" not in raw and b"/" not in raw and raw not in (b".", b"..")))
def test_files_with_any_name(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / os.fsdecode(raw)
    path.write_bytes(raw)
    assert asyncio.run(fetch(file_url(path))) == raw
    path.unlink()


async def test_a_file_of_a_package() -> None:
    assert (await fetch("pkg://skimage/data/coffee.png", 10**7)).startswith(b"\x89PNG")
    assert (await failure("pkg://skimage/data/no-such.png")).code == ErrorCode.NOT_FOUND


async def test_files_that_cannot_be_had(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "big").write_bytes(bytes(1001))
    expected = {
        tmp_path: ErrorCode.INVALID_URL,
        tmp_path / "fifo": ErrorCode.INVALID_URL,
        Path("/dev/zero"): ErrorCode.INVALID_URL,
        tmp_path / "loop": ErrorCode.INVALID_URL,
        tmp_path / ("x" * 300): ErrorCode.INVALID_URL,
        tmp_path / "none": ErrorCode.NOT_FOUND,
        tmp_path / "big" / "below": ErrorCode.NOT_FOUND,
        tmp_path / "big": ErrorCode.BODY_TOO_LARGE,
    }
    for path, code in expected.items():
        error = await failure(str(path))
        assert (path, error.code, error.retryable) == (path, code, False)


async def test_a_file_that_claims_to_be_empty_is_still_bounded() -> None:
    assert (await failure("/proc/self/smaps")).code == ErrorCode.BODY_TOO_LARGE


async def test_a_url_that_is_none() -> None:
    error = await failure("s4://x/y")
    assert (error.code, error.retryable) == (ErrorCode.INVALID_URL, False)


async def test_objects(s3: S3Server) -> None:
    for key in ("fetch/a b.jpg", "fetch/100%25#?.jpg", "fetch/é.jpg"):
        obstore.put(open_store("s3", s3.bucket), key, key.encode())
        assert await fetch(s3.url(key)) == key.encode()
    obstore.put(open_store("s3", s3.bucket), "fetch/big", bytes(1001))
    expected = {
        s3.url("fetch/none"): ErrorCode.NOT_FOUND,
        "s3://no-such-bucket-here/x": ErrorCode.NOT_FOUND,
        s3.url(): ErrorCode.INVALID_URL,
        s3.url("a/../b"): ErrorCode.INVALID_URL,
        s3.url("fetch/big"): ErrorCode.BODY_TOO_LARGE,
    }
    for url, code in expected.items():
        error = await failure(url)
        assert (url, error.code, error.retryable) == (url, code, False)


async def test_an_object_store_that_refuses(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    stores._open_store.cache_clear()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    error = await failure(s3.url("fetch/none"))
    assert (error.code, error.retryable) == (ErrorCode.PERMISSION_DENIED, False)
    stores._open_store.cache_clear()


async def test_no_credentials_at_all(serve: Serve, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=403)

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    # The machine's own credentials are asked for through a proxy, so that the test stays on this machine.
    monkeypatch.setenv("http_proxy", await serve(refuse))
    monkeypatch.setenv("no_proxy", "")
    stores._open_store.cache_clear()
    error = await failure(s3.url("x"))
    assert error.code == ErrorCode.STORAGE_FAILED
    assert "AWS_ACCESS_KEY_ID" in error.message
    stores._open_store.cache_clear()


async def test_an_object_store_that_stalls_is_cut_from_outside(serve_raw: ServeRaw, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stall(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    monkeypatch.setenv("AWS_ENDPOINT_URL", await serve_raw(stall))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await fetch(s3.url("x"))


def test_model_file_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"weights")
    assert model_file(str(path)) == path
    assert model_file(path.as_uri()) == path
    assert sha256_of(path) == hashlib.sha256(b"weights").hexdigest()
    with pytest.raises(InvalidJobError, match="does not exist"):
        model_file(str(tmp_path / "none"))
    with pytest.raises(InvalidJobError, match="is no file"):
        model_file(str(tmp_path))


def test_a_model_in_a_bucket_is_copied_once_and_again_when_it_changes(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEJOB_CACHE", str(tmp_path))
    store = open_store("s3", s3.bucket)
    obstore.put(store, "models/m.pt", b"one")
    first = model_file(s3.url("models/m.pt"))
    assert first.read_bytes() == b"one"
    first.write_bytes(b"mark")  # shows that the second call does not copy
    assert model_file(s3.url("models/m.pt")) == first
    assert first.read_bytes() == b"mark"
    obstore.put(store, "models/m.pt", b"two!")
    assert model_file(s3.url("models/m.pt")).read_bytes() == b"two!"
    with pytest.raises(InvalidJobError, match="does not exist"):
        model_file(s3.url("models/none"))
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


async def test_a_model_on_a_web_server(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal sent
        sent += 1
        headers = {"ETag": '"v1"'} if request.path == "/versioned" else {}
        return web.Response(body=f"body {sent}".encode(), headers=headers)

    url = await serve(answer)
    monkeypatch.setenv("IMAGEJOB_CACHE", str(tmp_path))
    with pytest.raises(InvalidJobError, match="not public"):
        await asyncio.to_thread(model_file, f"{url}/versioned")
    monkeypatch.setenv("IMAGEJOB_ALLOWED_NETWORKS", "127.0.0.2/32")
    assert (await asyncio.to_thread(model_file, f"{url}/versioned")).read_bytes() == b"body 1"
    assert (await asyncio.to_thread(model_file, f"{url}/versioned")).read_bytes() == b"body 1"
    assert (await asyncio.to_thread(model_file, f"{url}/plain")).read_bytes() == b"body 3"
    assert (await asyncio.to_thread(model_file, f"{url}/plain")).read_bytes() == b"body 4"
    monkeypatch.setenv("IMAGEJOB_ALLOWED_NETWORKS", "everything")
    with pytest.raises(InvalidJobError, match="IMAGEJOB_ALLOWED_NETWORKS"):
        await asyncio.to_thread(model_file, f"{url}/plain")


async def test_a_copy_that_breaks_off_leaves_nothing(serve_raw: ServeRaw, tmp_path: Path) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")
        await writer.drain()

    with pytest.raises(StorageError, match="ended early"):
        await copy_to(await serve_raw(answer), tmp_path / "copy", Download(allowed_networks=["127.0.0.2/32"]))
    assert os.listdir(tmp_path) == []  # noqa: PTH208  a list to compare

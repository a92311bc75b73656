"""Images from web servers, good and bad: the right bytes, or the right code and whether to try again."""

import asyncio
import base64
import datetime as dt
import gzip
import socket
import tracemalloc
import zlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from imagejob_api.pipeline import Download
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError, InvalidJobError
from imagejob_runner.fetch import Fetcher, proxies
from imagejob_runner.fetch.http_errors import connection_error, retry_after
from tests.unit.fetch.conftest import Serve, ServeRaw

ALLOWED = Download(allowed_networks=["127.0.0.2/32"], max_bytes=1_000_000, max_redirects=3)


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with Fetcher(ALLOWED) as fetcher:
        yield fetcher


async def failure(fetcher: Fetcher, url: str) -> ImageError:
    with pytest.raises(ImageError) as caught:
        await fetcher.fetch(url)
    return caught.value


async def test_a_body(serve: Serve, fetcher: Fetcher) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(body=request.path.encode() * 1000)

    url = await serve(answer)
    bodies = await asyncio.gather(*(fetcher.fetch(f"{url}/{number}") for number in range(20)))
    assert bodies == [f"/{number}".encode() * 1000 for number in range(20)]


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (404, ErrorCode.NOT_FOUND, False),
        (410, ErrorCode.NOT_FOUND, False),
        (401, ErrorCode.PERMISSION_DENIED, False),
        (403, ErrorCode.PERMISSION_DENIED, False),
        (408, ErrorCode.HTTP_STATUS, True),
        (425, ErrorCode.HTTP_STATUS, True),
        (429, ErrorCode.HTTP_STATUS, True),
        (500, ErrorCode.HTTP_STATUS, True),
        (503, ErrorCode.HTTP_STATUS, True),
        (400, ErrorCode.HTTP_STATUS, False),
        (451, ErrorCode.HTTP_STATUS, False),
        (204, ErrorCode.HTTP_STATUS, False),
        (304, ErrorCode.HTTP_STATUS, False),
    ],
)
async def test_statuses(serve: Serve, fetcher: Fetcher, status: int, code: str, *, retryable: bool) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Retry-After": "7"})

    error = await failure(fetcher, f"{await serve(answer)}/a.jpg?token=secret")
    assert (error.code, error.retryable) == (code, retryable)
    assert str(status) in error.message
    assert "secret" not in error.message
    assert error.retry_after == (7.0 if retryable else None)


async def test_500_then_200(serve: Serve, fetcher: Fetcher) -> None:
    answers = iter([500, 200])

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=next(answers), body=b"image")

    url = await serve(answer)
    assert (await failure(fetcher, url)).retryable
    assert await fetcher.fetch(url) == b"image"


def test_retry_after_as_a_date() -> None:
    now = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    assert retry_after("Wed, 01 Jan 2025 00:02:00 GMT", now) == 120.0
    assert retry_after("Wed, 01 Jan 2020 00:02:00 GMT", now) == 0.0
    assert retry_after("soon", now) is None
    assert retry_after("inf", now) is None
    assert retry_after("-5", now) == 0.0


async def test_redirects_are_followed(serve: Serve, fetcher: Fetcher) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/image":
            return web.Response(body=b"image")
        raise web.HTTPFound("/image" if request.path == "/second" else "/second")

    assert await fetcher.fetch(f"{await serve(answer)}/first") == b"image"


async def test_a_redirect_loop_ends(serve: Serve, fetcher: Fetcher) -> None:
    count = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        raise web.HTTPFound(request.path)

    error = await failure(fetcher, await serve(answer))
    assert (error.code, error.retryable) == (ErrorCode.TOO_MANY_REDIRECTS, False)
    assert count == 4  # the request and three redirects


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:9/x",
        "http://169.254.169.254/latest/meta-data/",
        "http://localhost:9/x",
        "http://[::1]:9/x",
        "http://[::ffff:127.0.0.1]:9/x",
        "http://[64:ff9b::7f00:1]:9/x",
        "http://0.0.0.0:9/x",
        "http://100.64.0.1/x",
        "http://10.0.0.1/x",
        "//127.0.0.1:9/x",
        "file:///etc/passwd",
        "ftp://example.com/x",
    ],
)
async def test_a_redirect_to_a_forbidden_place(serve: Serve, fetcher: Fetcher, target: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": target})

    error = await failure(fetcher, await serve(answer))
    assert (error.code, error.retryable) == (ErrorCode.ADDRESS_FORBIDDEN, False)


async def test_nothing_is_sent_to_a_forbidden_address(serve: Serve, fetcher: Fetcher) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(body=b"secret")

    url = await serve(answer, "127.0.0.1")
    port = url.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "LOCALHOST", "[::ffff:127.0.0.1]"):
        error = await failure(fetcher, f"http://{host}:{port}/")
        assert (error.code, error.retryable) == (ErrorCode.ADDRESS_FORBIDDEN, False)
        assert "allowedNetworks" in error.message
    for host in ("2130706433", "127.1", "0x7f.1", "0177.0.0.1"):
        error = await failure(fetcher, f"http://{host}:{port}/")
        assert not error.retryable
    assert asked == []


async def test_headers_stay_with_their_host(serve: Serve) -> None:
    seen: dict[str, str | None] = {}

    async def last(request: web.Request) -> web.Response:
        seen["last"] = request.headers.get("Authorization")
        return web.Response(body=b"image")

    other = await serve(last)

    async def first(request: web.Request) -> web.Response:
        seen[request.path] = request.headers.get("Authorization")
        raise web.HTTPFound("/second" if request.path == "/first" else other)

    download = ALLOWED.model_copy(update={"headers": {"Authorization": "Bearer x"}})
    async with Fetcher(download) as fetcher:
        assert await fetcher.fetch(f"{await serve(first)}/first") == b"image"
    assert seen == {"/first": "Bearer x", "/second": "Bearer x", "last": None}


@pytest.mark.timeout(20)
async def test_a_body_that_never_ends(serve: Serve, fetcher: Fetcher) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    error = await failure(fetcher, await serve(answer))
    assert (error.code, error.retryable) == (ErrorCode.BODY_TOO_LARGE, False)


@pytest.mark.timeout(20)
async def test_a_length_that_is_too_large_is_believed(serve_raw: ServeRaw, fetcher: Fetcher) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
        await reader.read()  # sends no body: the answer must be given up on the header alone

    error = await failure(fetcher, await serve_raw(answer))
    assert error.code == ErrorCode.BODY_TOO_LARGE
    assert "99999999999" in error.message


async def test_a_body_shorter_than_its_length(serve_raw: ServeRaw, fetcher: Fetcher) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")
        await writer.drain()

    error = await failure(fetcher, await serve_raw(answer))
    assert (error.code, error.retryable) == (ErrorCode.CONNECTION_FAILED, True)


@pytest.mark.parametrize("answer", [b"", b"no HTTP at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"])
async def test_no_http_at_all(serve_raw: ServeRaw, fetcher: Fetcher, answer: bytes) -> None:
    async def send(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    error = await failure(fetcher, await serve_raw(send))
    assert (error.code, error.retryable) == (ErrorCode.CONNECTION_FAILED, True)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_compressed_although_not_asked_for(serve: Serve, fetcher: Fetcher, encoding: str) -> None:
    image = bytes(range(256)) * 1000
    packed = gzip.compress(image) if encoding == "gzip" else zlib.compress(image)

    async def answer(request: web.Request) -> web.Response:
        body = packed if request.path == "/whole" else packed[:-20]
        return web.Response(body=body, headers={"Content-Encoding": encoding})

    url = await serve(answer)
    assert await fetcher.fetch(f"{url}/whole") == image
    assert (await failure(fetcher, f"{url}/cut")).retryable


async def test_a_gzip_bomb(serve: Serve, fetcher: Fetcher) -> None:
    bomb = gzip.compress(bytes(300_000_000), 9)
    assert len(bomb) < ALLOWED.max_bytes

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    url = await serve(answer)
    tracemalloc.start()
    error = await failure(fetcher, url)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.code == ErrorCode.BODY_TOO_LARGE
    assert peak < 20_000_000  # 64 KiB of the bomb unpack to 64 MB


async def test_an_encoding_nobody_asked_for(serve: Serve, fetcher: Fetcher) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"?", headers={"Content-Encoding": "br"})

    error = await failure(fetcher, await serve(answer))
    assert (error.code, error.retryable) == (ErrorCode.HTTP_STATUS, False)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart"])
async def test_a_stall_is_cut_from_outside_and_leaves_nothing(serve_raw: ServeRaw, sent: bytes) -> None:
    gone = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()
        await reader.read()  # returns when the client has closed the connection
        gone.set()

    url = await serve_raw(answer)
    async with Fetcher(ALLOWED) as fetcher:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await fetcher.fetch(url)
        async with asyncio.timeout(5):
            await gone.wait()
    assert len(asyncio.all_tasks()) <= 2  # this test, and the server's own end


async def test_nobody_listens(fetcher: Fetcher) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", 0))
        error = await failure(fetcher, f"http://127.0.0.2:{probe.getsockname()[1]}/")
    assert (error.code, error.retryable) == (ErrorCode.CONNECTION_FAILED, True)


def test_a_host_that_does_not_exist_is_not_asked_again() -> None:
    def dns(number: int) -> ImageError:
        key = aiohttp.client_reqrep.ConnectionKey("nowhere", 80, False, True, None, None, None)
        error = aiohttp.ClientConnectorDNSError(key, OSError())
        error.__cause__ = socket.gaierror(number, "no")
        return connection_error(error, [], "http://nowhere/")

    assert not dns(socket.EAI_NONAME).retryable
    assert dns(socket.EAI_AGAIN).retryable


@pytest.fixture
async def proxied(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fetcher]:
    """Goes through a proxy with a password, which tells what it was asked for, as far as it knows the password."""

    async def proxy(request: web.Request) -> web.Response:
        allowed = request.headers.get("Proxy-Authorization") == f"Basic {base64.b64encode(b'me:hunter2').decode()}"
        return web.Response(body=f"{allowed} {request.raw_path}".encode())

    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", (await serve(proxy, "127.0.0.3")).replace("http://", "http://me:hunter2@"))
    monkeypatch.setenv("IMAGEJOB_USE_PROXY", "true")
    async with Fetcher(ALLOWED) as fetcher:
        yield fetcher


async def test_a_proxy_is_used_where_that_is_allowed(proxied: Fetcher, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    # Though its own address is not one that sources may lead to.
    assert await proxied.fetch("http://photos.example/a.jpg") == b"True http://photos.example/a.jpg"

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"direct")

    url = await serve(answer)
    monkeypatch.setenv("no_proxy", "127.0.0.2")
    assert await proxied.fetch(url) == b"direct"


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "168.63.129.16", "127.1", "2130706433", "0x7f000001", "[fd00:ec2::254]", "[::ffff:10.0.0.1]"]
)
async def test_an_address_in_so_many_words_is_looked_at_before_a_proxy(proxied: Fetcher, host: str) -> None:
    error = await failure(proxied, f"http://{host}/latest/meta-data")
    assert (error.code, error.retryable) == (ErrorCode.ADDRESS_FORBIDDEN, False)


async def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "me:hunter2@127.0.0.3:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("IMAGEJOB_USE_PROXY", "1")
    async with Fetcher(ALLOWED) as fetcher:
        error = await failure(fetcher, "http://photos.example/a.jpg")
    assert (error.code, error.retryable) == (ErrorCode.CONNECTION_FAILED, True)
    assert "http://photos.example/a.jpg, through the proxy http://127.0.0.3:9: " in error.message
    assert "hunter2" not in error.message


async def test_without_that_proxies_of_the_environment_are_not_used(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://me:hunter2@127.0.0.1:9")

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"direct")

    proxies._tell.cache_clear()
    caplog.set_level("INFO", proxies.__name__)
    async with Fetcher(ALLOWED) as fetcher:
        assert [await fetcher.fetch(await serve(answer)) for _ in range(2)] == [b"direct", b"direct"]
        error = await failure(fetcher, "http://127.0.0.2:9/")
        assert error.message.endswith(
            "(HTTP_PROXY is set and not used; set IMAGEJOB_USE_PROXY=true, too, if the proxy may decide what is reached)"
        )
        refused = await failure(fetcher, "http://127.0.0.1:9/")
        assert refused.code == ErrorCode.ADDRESS_FORBIDDEN
    assert [record.getMessage() for record in caplog.records if record.name == proxies.__name__] == [error.message.rpartition("(")[2][:-1]]


async def test_a_setting_that_is_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEJOB_USE_PROXY", "perhaps")
    async with Fetcher(ALLOWED) as fetcher:
        with pytest.raises(InvalidJobError, match="IMAGEJOB_USE_PROXY is 'perhaps', and must be true or false"):
            await fetcher.fetch("http://127.0.0.2:9/")


@pytest.mark.parametrize("headers", [{"X": "a\r\nY: b"}, {"X\n": "a"}])
async def test_headers_cannot_be_smuggled(serve: Serve, headers: dict[str, str]) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"")

    url = await serve(answer)
    async with Fetcher(ALLOWED.model_copy(update={"headers": headers})) as fetcher:
        assert (await failure(fetcher, url)).code == ErrorCode.INVALID_URL

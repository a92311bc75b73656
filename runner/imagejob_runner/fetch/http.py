"""Reads images from web servers that nobody vouches for.

A server may send the client elsewhere, never stop talking, announce one size and send another, or compress a gigabyte into a kilobyte. Each
of these has a bound, and redirects are followed here rather than by the HTTP client, so that each hop is looked at.
"""

import os
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from yarl import URL

from imagejob_api.pipeline import Download
from imagejob_api.redaction import shown_url
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError
from imagejob_runner.fetch.addresses import AddressGuard, ForbiddenAddressError, refused_addresses
from imagejob_runner.fetch.http_errors import connection_error, status_error
from imagejob_runner.fetch.proxies import Proxies, literal_address

_OK: Final = 200
_REDIRECTS: Final = {301, 302, 303, 307, 308}
_BLOCK_BYTES: Final = 1 << 16
# Images are compressed already; asking for plain bytes keeps servers from compressing them again. Those that do all the same are unpacked
# here, in blocks, because the client would unpack as much as the server likes before anybody can count.
_DEFAULT_HEADERS: Final = {"Accept": "image/*,*/*;q=0.8", "Accept-Encoding": "identity", "User-Agent": "imagejob"}
_WINDOW_BITS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class HttpBody:
    """The body of an answer with status 200.

    Args:
        response: The answer.
        url: Its URL, for messages.
    """

    def __init__(self, response: aiohttp.ClientResponse, url: str) -> None:
        self._response = response
        self._url = url
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower() or "identity"
        if encoding != "identity" and encoding not in _WINDOW_BITS:
            raise ImageError(ErrorCode.HTTP_STATUS, f"{url} came compressed with {encoding!r}, which was not asked for")
        self._window_bits = _WINDOW_BITS.get(encoding)
        self.size = response.content_length if self._window_bits is None else None
        self.version = _version(response)

    async def blocks(self) -> AsyncIterator[bytes]:
        """See `Body.blocks`."""
        try:
            if self._window_bits is None:
                async for block in self._response.content.iter_chunked(_BLOCK_BYTES):
                    yield block
            else:
                async for block in self._unpacked(self._window_bits):
                    yield block
        except (aiohttp.ClientError, OSError) as error:
            raise ImageError(ErrorCode.CONNECTION_FAILED, f"{self._url}: the body ended early: {error}", retryable=True) from error
        except zlib.error as error:
            raise ImageError(ErrorCode.CONNECTION_FAILED, f"{self._url}: the compressed body is broken: {error}", retryable=True) from error

    async def _unpacked(self, window_bits: int) -> AsyncIterator[bytes]:
        unpacker = zlib.decompressobj(window_bits)
        async for block in self._response.content.iter_chunked(_BLOCK_BYTES):
            rest = block
            while rest and not unpacker.eof:
                yield unpacker.decompress(rest, _BLOCK_BYTES)
                rest = unpacker.unconsumed_tail
        yield unpacker.flush()
        if not unpacker.eof:
            raise ImageError(ErrorCode.CONNECTION_FAILED, f"{self._url}: the compressed body ended early", retryable=True)


class HttpClient:
    """Reads from web servers, one guarded connection pool for all.

    Args:
        download: Limits, headers and allowed networks.
        stall_seconds: Longest time without a byte; unbounded by default, as whoever calls sets a timeout around each attempt.
    """

    def __init__(self, download: Download, stall_seconds: float | None = None) -> None:
        self._download = download
        self._guard = AddressGuard(download.allowed_networks)
        self._proxies = Proxies(os.environ)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=stall_seconds, sock_read=stall_seconds)
        self._session = _session(timeout, aiohttp.TCPConnector(limit=0, socket_factory=self._guard.socket))
        # Connects to proxies and to nothing else. Those are the environment's word, and mostly on a private address.
        self._proxied = _session(timeout, aiohttp.TCPConnector(limit=0))

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()
        await self._proxied.close()

    @asynccontextmanager
    async def open(self, url: str) -> AsyncIterator[HttpBody]:
        """Requests a URL, follows its redirects and opens the body.

        Raises:
            ImageError: There is no body to be had.
        """
        target = _parsed(url)
        headers = {**_DEFAULT_HEADERS, **self._download.headers}
        for _ in range(self._download.max_redirects + 1):
            async with self._request(target, headers) as response:
                if response.status == _OK:
                    yield HttpBody(response, shown_url(str(target)))
                    return
                if response.status not in _REDIRECTS or "Location" not in response.headers:
                    raise status_error(response.status, response.reason, response.headers, shown_url(str(target)))
                following = _redirect(target, response.headers["Location"])
            if following.origin() != target.origin():
                headers = dict(_DEFAULT_HEADERS)
            target = following
        raise ImageError(
            ErrorCode.TOO_MANY_REDIRECTS,
            f"{shown_url(url)} redirects more than {self._download.max_redirects} times; download.maxRedirects allows no more",
        )

    @asynccontextmanager
    async def _request(self, target: URL, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        shown = shown_url(str(target))
        proxy = self._proxies.proxy_for(target)
        self._proxies.tell_unused(target)
        with refused_addresses() as refused:
            try:
                if proxy is None:
                    response = await self._session.get(target, headers=headers, allow_redirects=False)
                else:
                    # Names are for the proxy to resolve; an address in so many words is still looked at.
                    if (address := literal_address(target.host or "")) is not None and not self._guard.permits(address):
                        refused.append(address)
                        raise ForbiddenAddressError
                    response = await self._proxied.get(target, headers=headers, allow_redirects=False, proxy=proxy)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise connection_error(error, refused, shown, proxy=proxy, hint=self._proxies.unused(target)) from error
        # Not released but closed when the body is not read to its end: what is left of it may be endless.
        async with response:
            yield response


def _session(timeout: aiohttp.ClientTimeout, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )


def _parsed(url: str) -> URL:
    try:
        return URL(url)
    except ValueError:
        raise ImageError(ErrorCode.INVALID_URL, f"{shown_url(url)} is not a valid URL") from None


def _redirect(base: URL, location: str) -> URL:
    try:
        target = base.join(URL(location))
    except ValueError:
        raise ImageError(ErrorCode.INVALID_URL, f"{shown_url(str(base))} redirects to {shown_url(location)!r}, which is no URL") from None
    if target.scheme not in ("http", "https") or not target.host:
        raise ImageError(
            ErrorCode.ADDRESS_FORBIDDEN,
            f"{shown_url(str(base))} redirects to {shown_url(str(target))!r}; only http and https are followed",
        )
    return target


def _version(response: aiohttp.ClientResponse) -> str | None:
    if tag := response.headers.get("ETag"):
        return tag
    if modified := response.headers.get("Last-Modified"):
        return f"{modified} {response.content_length}"
    return None

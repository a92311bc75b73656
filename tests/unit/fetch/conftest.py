"""Web servers that misbehave, on addresses of this machine."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Protocol

import pytest
from aiohttp import web

SERVER_ADDRESS = "127.0.0.2"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
RawHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Serve(Protocol):
    """Starts an aiohttp server with one handler for all paths; gives its URL."""

    async def __call__(self, handler: Handler, host: str = SERVER_ADDRESS) -> str: ...


class ServeRaw(Protocol):
    """Starts a TCP server that answers as no HTTP library would; gives its URL."""

    async def __call__(self, handler: RawHandler) -> str: ...


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def start(handler: Handler, host: str = SERVER_ADDRESS) -> str:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", handler)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, host, 0)
            await site.start()
            port = runner.addresses[0][1]
            return f"http://{host}:{port}"

        yield start


@pytest.fixture
async def serve_raw() -> AsyncIterator[ServeRaw]:
    async with AsyncExitStack() as stack:

        async def start(handler: RawHandler) -> str:
            async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                try:
                    await reader.readuntil(b"\r\n\r\n")
                    await handler(reader, writer)
                except (ConnectionError, asyncio.IncompleteReadError):
                    pass
                finally:
                    writer.close()

            server = await asyncio.start_server(answer, SERVER_ADDRESS, 0)
            await stack.enter_async_context(server)
            return f"http://{SERVER_ADDRESS}:{server.sockets[0].getsockname()[1]}"

        yield start

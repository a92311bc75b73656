"""An API server that the tests direct."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.unit.cli.cluster.server import Server, running_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


async def until(holds: Callable[[], bool]) -> None:
    """Waits for something that other tasks bring about."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  what is waited for is in several places
            await asyncio.sleep(0.001)

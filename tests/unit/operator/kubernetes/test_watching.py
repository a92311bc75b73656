import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from imagejob_operator.kubernetes import KubernetesApi, RefusedError
from imagejob_operator.kubernetes.kinds import LEASE
from imagejob_operator.kubernetes.watching import follow, follow_changes
from tests.unit.operator.virtual_time import run

Json = dict[str, Any]


def lease(name: str, version: int) -> Json:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


class Server:
    """Lists once more whenever asked, and gives one prepared watch after another."""

    def __init__(self, *watches: list[Json] | Exception) -> None:
        self.watches = list(watches)
        self.since: list[str] = []
        self.lists = 0
        self.reports: list[tuple[str | None, str]] = []
        self.over = asyncio.Event()

    async def send(self, *_: object) -> tuple[int, Mapping[str, str], bytes]:
        self.lists += 1
        content = {"items": [lease(f"listed-{self.lists}", self.lists * 100)], "metadata": {"resourceVersion": str(self.lists * 100)}}
        return 200, {}, json.dumps(content).encode()

    async def stream(self, _path: str, query: Mapping[str, str], _silent_seconds: float) -> AsyncIterator[bytes]:
        self.since.append(query.get("resourceVersion", ""))
        if not self.watches:
            self.over.set()
            await asyncio.Event().wait()
        watch = self.watches.pop(0)
        if isinstance(watch, Exception):
            raise watch
        for event in watch:
            yield json.dumps(event).encode()

    def report(self, event_type: str | None, thing: Json) -> None:
        self.reports.append((event_type, thing["metadata"]["name"]))


async def followed(*watches: list[Json] | Exception) -> Server:
    server = Server(*watches)
    api = KubernetesApi(server.send)
    task = asyncio.create_task(follow(api, server.stream, LEASE, "imagejob-system", "", server.report))
    await asyncio.wait_for(server.over.wait(), 600)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return server


def test_a_watch_goes_on_where_the_last_one_ended() -> None:
    async def scenario() -> None:
        server = await followed(
            [{"type": "ADDED", "object": lease("a", 101)}, {"type": "BOOKMARK", "object": lease("", 150)}],
            [{"type": "DELETED", "object": lease("a", 160)}],
            aiohttp.ClientPayloadError(),
            TimeoutError(),
        )
        assert server.reports == [(None, "listed-1"), ("ADDED", "a"), ("DELETED", "a")]
        assert server.since == ["100", "150", "160", "160", "160"]

    run(scenario())


def test_a_version_that_is_too_old_is_listed_anew() -> None:
    async def scenario() -> None:
        gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410}}
        server = await followed([gone], RefusedError("410: too old", status=410))
        assert server.lists == 3
        assert server.since == ["100", "200", "300"]

    run(scenario())


def test_an_error_of_another_kind_is_no_reason_to_list() -> None:
    async def scenario() -> None:
        server = await followed([{"type": "ERROR", "object": {"kind": "Status", "code": 500}}])
        assert (server.lists, server.since) == (1, ["100", "100"])

    run(scenario())


def test_a_watch_that_is_refused_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        refused = [RefusedError("leases is forbidden", status=403) for _ in range(3)]
        await followed(RefusedError("too old", status=410), *refused, aiohttp.ClientPayloadError())

    with caplog.at_level(logging.WARNING):
        run(scenario())
    assert [record.getMessage() for record in caplog.records] == ["The watch of leases in imagejob-system broke: leases is forbidden"]


def test_changes_are_missed_only_where_a_watch_that_began_anew_has_delivered() -> None:
    async def scenario() -> None:
        refused = RefusedError("leases is forbidden", status=403)
        server = Server(
            *[refused] * 3,
            [],
            [{"type": "ERROR", "object": {"kind": "Status", "code": 500}}],
            [{"type": "ADDED", "object": lease("a", 101)}, {"type": "BOOKMARK", "object": lease("", 150)}],
            refused,
            [{"type": "DELETED", "object": lease("a", 160)}],
            RefusedError("too old", status=410),
            refused,
            [{"type": "BOOKMARK", "object": lease("", 200)}],
        )
        missed: list[list[str]] = []
        following = follow_changes(server.stream, LEASE, None, "", server.report, missed=lambda: missed.append(list(server.since)))
        task = asyncio.create_task(following)
        await asyncio.wait_for(server.over.wait(), 600)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert server.since == [""] * 6 + ["150", "150", "160", "", "", "200"]
        assert [len(since) for since in missed] == [6, 11]

    run(scenario())

"""A mirror against an API server that misbehaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from imagejob_cli.cluster import mirror as mirror_module
from imagejob_cli.cluster.api import Api
from imagejob_cli.cluster.exceptions import ForbiddenError, UnauthorizedError, UnreachableError
from imagejob_cli.cluster.mirror import Mirror, Selection
from imagejob_cli.cluster.resources import IMAGE_JOB
from tests.unit.cli.cluster.conftest import until
from tests.unit.cli.cluster.server import Server

NEWER = "newer"


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "RETRY_FIRST_SECONDS", 0.001)
    monkeypatch.setattr(mirror_module, "RETRY_LAST_SECONDS", 0.001)


@asynccontextmanager
async def following(server: Server, said: list[str] | None = None) -> AsyncIterator[Mirror]:
    """A mirror that follows the server's objects."""
    async with Api(server.target) as api:
        mirror = Mirror(api, Selection(IMAGE_JOB, "team"), lambda: None, (said if said is not None else []).append)
        await mirror.list()
        task = asyncio.create_task(mirror.follow())
        await until(lambda: len(server.watches) == 1)
        yield mirror
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def number(mirror: Mirror, name: str = "a") -> object:
    return mirror.objects.get(("team", name), {}).get("spec", {}).get("n")


async def test_changes_come_by_one_watch_and_nothing_is_asked_again(server: Server) -> None:
    server.put("a", n=1)
    async with following(server) as mirror:
        assert number(mirror) == 1
        for n in range(2, 50):
            server.put("a", n=n)
        await until(lambda: number(mirror) == 49)
        server.put("b", n=1)
        await until(lambda: number(mirror, "b") == 1)
        assert server.asked == {"list": 1, "watch": 1}


async def test_what_is_deleted_stays_known_as_it_was_last(server: Server) -> None:
    server.put("a", n=1)
    async with following(server) as mirror:
        server.remove("a")
        await until(lambda: not mirror.objects)
        assert mirror.deleted["team", "a"]["spec"] == {"n": 1}


async def test_a_watch_that_ends_goes_on_where_it_was(server: Server) -> None:
    async with following(server) as mirror:
        server.put("a", n=1)
        await until(lambda: number(mirror) == 1)
        server.end_watches()
        await until(lambda: len(server.watches) == 1)
        server.put("a", n=2)
        await until(lambda: number(mirror) == 2)
        assert server.asked == {"list": 1, "watch": 2}
        assert server.resumed_from == ["10", "11"]


async def test_a_bookmark_moves_on_where_it_goes_on(server: Server) -> None:
    async with following(server) as mirror:
        server.tell("BOOKMARK", {"metadata": {"resourceVersion": "4711"}})
        server.end_watches()
        await until(lambda: len(server.resumed_from) == 2)
        assert server.resumed_from[1] == "4711"
        assert mirror.objects == {}


async def test_a_watch_that_has_expired_lists_again(server: Server) -> None:
    server.put("a", n=1)
    async with following(server) as mirror:
        server.tell("ERROR", {"kind": "Status", "code": 410, "message": "too old"})
        server.objects["a"]["spec"]["n"] = 2  # while nobody watched
        await until(lambda: number(mirror) == 2)
        assert server.asked["list"] == 2


@pytest.mark.parametrize("code", [429, 500, 503])
async def test_an_outage_is_told_once_and_survived(server: Server, code: int) -> None:
    said: list[str] = []
    async with following(server, said) as mirror:
        server.failures = [code] * 5
        server.end_watches()
        await until(lambda: len(server.watches) == 1)
        server.put("a", n=1)
        await until(lambda: number(mirror) == 1)
        assert server.asked["list"] == 1
    assert len(said) == 2
    assert "cannot answer now" in said[0]
    assert said[1] == "The cluster answers again."


async def test_who_follows_gives_up_in_the_end(server: Server) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 100
        return now

    async with Api(server.target) as api:
        mirror = Mirror(api, Selection(IMAGE_JOB, "team"), lambda: None, lambda _: None, clock)
        await mirror.list()
        server.failures = [503] * 20
        with pytest.raises(UnreachableError, match="cannot answer now"):
            await mirror.follow()


async def test_a_right_that_is_taken_away_ends_it(server: Server) -> None:
    async with Api(server.target) as api:
        mirror = Mirror(api, Selection(IMAGE_JOB, "team"), lambda: None, lambda _: None)
        await mirror.list()
        server.failures = [403]
        with pytest.raises(ForbiddenError):
            await mirror.follow()


async def test_a_token_that_was_exchanged_is_read_again(server: Server) -> None:
    async with following(server) as mirror:
        server.token = NEWER
        server.write_kubeconfig(NEWER)
        server.end_watches()
        await until(lambda: len(server.watches) == 1)
        server.put("a", n=1)
        await until(lambda: number(mirror) == 1)
        assert server.asked["refused"] == 1


async def test_a_token_that_is_not_accepted_is_an_error_at_once(server: Server) -> None:
    target = server.target
    server.write_kubeconfig("wrong")
    async with Api(target) as api:
        with pytest.raises(UnauthorizedError, match="log in again"):
            await api.list(IMAGE_JOB, "team", {})
    assert server.asked["refused"] == 1

"""Logs whose streams break."""

import pytest

from imagejob_cli.cluster import log_stream
from imagejob_cli.cluster.api import Api
from imagejob_cli.cluster.exceptions import UnreachableError
from imagejob_cli.cluster.log_stream import Seen, followed_lines, log_lines, sortable, split_line
from tests.unit.cli.cluster.server import Server

FIRST = ["2026-05-04T10:00:00.1Z one", "2026-05-04T10:00:00.12Z two", "2026-05-04T10:00:00.12Z three"]
AGAIN = [*FIRST, "2026-05-04T10:00:00.12Z four", "2026-05-04T10:00:01Z ", "2026-05-04T10:00:01.5Z six"]


def say_of_pod(monkeypatch: pytest.MonkeyPatch, ended: list[bool]) -> None:
    """Has the cluster say in turn whether the pod has ended."""
    answers = iter(ended)

    async def has_ended(*_: object) -> bool:
        return next(answers)

    monkeypatch.setattr(log_stream, "_has_ended", has_ended)


async def test_a_log_is_read_without_its_times(server: Server) -> None:
    server.log = [AGAIN]
    async with Api(server.target) as api:
        lines = [line async for line in log_lines(api, "team", "demo-0-x", tail=7)]
    assert lines == ["one", "two", "three", "four", "", "six"]
    assert server.log_queries == [{"container": "runner", "timestamps": "true", "tailLines": "7"}]


async def test_a_stream_that_breaks_goes_on_without_gaps_or_doubles(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_stream, "RETRY_FIRST_SECONDS", 0.0)
    say_of_pod(monkeypatch, ended=[False, True])
    server.log = [FIRST, AGAIN]
    async with Api(server.target) as api:
        lines = [line async for line in followed_lines(api, "team", "demo-0-x", tail=None, say=print)]
    assert lines == ["one", "two", "three", "four", "", "six"]
    assert server.log_queries[1]["sinceTime"] == "2026-05-04T10:00:00.12Z"


async def test_an_outage_is_said_once_and_survived(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_stream, "RETRY_FIRST_SECONDS", 0.0)
    say_of_pod(monkeypatch, ended=[*4 * [False], True])
    said: list[str] = []
    server.log = [FIRST, *7 * [502], AGAIN]
    async with Api(server.target) as api:
        lines = [line async for line in followed_lines(api, "team", "demo-0-x", tail=None, say=said.append)]
    assert lines == ["one", "two", "three", "four", "", "six"]
    (note,) = said
    assert note.endswith("cannot answer now (HTTP 502): the node is away. Trying again.")


async def test_the_log_of_a_pod_that_has_ended_on_a_lost_node_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_stream, "RETRY_FIRST_SECONDS", 0.0)
    say_of_pod(monkeypatch, ended=[False, True])
    server.log = [FIRST, *100 * [502]]
    lines: list[str] = []

    async def read(api: Api) -> None:
        async for line in followed_lines(api, "team", "demo-0-x", tail=None, say=lambda _: None):
            lines.append(line)  # noqa: PERF401  what came before the error counts

    async with Api(server.target) as api:
        with pytest.raises(UnreachableError, match="the node is away"):
            await read(api)
    assert lines == ["one", "two", "three"]
    assert len(server.log) == 95


def test_times_sort_though_their_fractions_differ_in_length() -> None:
    times = ["2026-05-04T10:00:00Z", "2026-05-04T10:00:00.1Z", "2026-05-04T10:00:00.12Z", "2026-05-04T10:00:01Z"]
    assert sorted(times, key=sortable) == times
    assert sorted(times) != times


def test_a_clock_that_steps_back_loses_no_line() -> None:
    seen = Seen()
    assert [seen.is_new(time) for time in ("2026-05-04T10:00:05Z", "2026-05-04T10:00:01Z", "2026-05-04T10:00:02Z")] == [True] * 3


def test_a_line_without_text_and_one_that_is_no_text() -> None:
    assert split_line(b"2026-05-04T10:00:00Z ") == ("2026-05-04T10:00:00Z", "")
    assert split_line(b"2026-05-04T10:00:00Z \xff\r") == ("2026-05-04T10:00:00Z", "\N{REPLACEMENT CHARACTER}")

"""Logs whose streams break."""

import pytest

from imagejob_cli.cluster import log_stream
from imagejob_cli.cluster.api import Api
from imagejob_cli.cluster.log_stream import Seen, log_lines, sortable, split_line
from tests.unit.cli.cluster.server import Server

FIRST = ["2026-05-04T10:00:00.1Z one", "2026-05-04T10:00:00.12Z two", "2026-05-04T10:00:00.12Z three"]
AGAIN = [*FIRST, "2026-05-04T10:00:00.12Z four", "2026-05-04T10:00:01Z ", "2026-05-04T10:00:01.5Z six"]


async def test_a_log_is_read_without_its_times(server: Server) -> None:
    server.log = [AGAIN]
    async with Api(server.target) as api:
        lines = [line async for line in log_lines(api, "team", "demo-0-x", follow=False, tail=7)]
    assert lines == ["one", "two", "three", "four", "", "six"]
    assert server.log_queries == [{"container": "runner", "timestamps": "true", "tailLines": "7"}]


async def test_a_stream_that_breaks_goes_on_without_gaps_or_doubles(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_stream, "RETRY_FIRST_SECONDS", 0.0)
    ended = iter([False, True])

    async def has_ended(*_: object) -> bool:
        return next(ended)

    monkeypatch.setattr(log_stream, "_has_ended", has_ended)
    server.log = [FIRST, AGAIN]
    async with Api(server.target) as api:
        lines = [line async for line in log_lines(api, "team", "demo-0-x", follow=True, tail=None)]
    assert lines == ["one", "two", "three", "four", "", "six"]
    assert server.log_queries[1]["sinceTime"] == "2026-05-04T10:00:00.12Z"


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

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from imagejob_operator.kubernetes import KubernetesApi
from imagejob_operator.kubernetes.events import AGAIN_SECONDS, EventRecorder
from imagejob_operator.kubernetes.kinds import NODE_LIMIT

LIMIT = {"name": "gpu", "uid": "one"}
Json = dict[str, Any]


class Events:
    """An API server that keeps Events; and the time."""

    def __init__(self) -> None:
        self.kept: dict[str, Json] = {}
        self.writes = 0
        self.seconds = 0.0
        self.refusing = False

    async def __call__(self, method: str, path: str, _query: object, body: Json, *_: object) -> tuple[int, Mapping[str, str], bytes]:
        self.writes += 1
        if self.refusing:
            return 403, {}, json.dumps({"reason": "Forbidden", "message": "no"}).encode()
        name = body["metadata"]["name"] if method == "POST" else path.rpartition("/")[2]
        if method == "POST" and name in self.kept:
            return 409, {}, json.dumps({"reason": "AlreadyExists", "message": name}).encode()
        if method == "PATCH" and name not in self.kept:
            return 404, {}, json.dumps({"reason": "NotFound", "message": name}).encode()
        self.kept[name] = {**self.kept.get(name, {}), **body}
        return 200, {}, json.dumps(self.kept[name]).encode()

    def recorder(self) -> EventRecorder:
        return EventRecorder(KubernetesApi(self), lambda: datetime(2026, 5, 4, tzinfo=UTC), lambda: self.seconds)


@pytest.fixture
def events() -> Events:
    return Events()


async def test_what_changes_with_every_word_is_one_event_that_is_amended_now_and_then(events: Events) -> None:
    recorder = events.recorder()
    said = [await recorder.post(NODE_LIMIT, LIMIT, "Warning", "MalformedLease", f"garbage {number}") for number in range(400)]
    assert (said.count(True), events.writes, len(events.kept)) == (1, 1, 1)

    events.seconds += AGAIN_SECONDS
    assert await recorder.post(NODE_LIMIT, LIMIT, "Warning", "MalformedLease", "the last one")
    (event,) = events.kept.values()
    assert (event["message"], event["count"]) == ("the last one", 401)


async def test_the_same_words_are_said_once_also_by_the_next_operator(events: Events) -> None:
    for _ in range(2):
        recorder = events.recorder()
        for _ in range(3):
            await recorder.post(NODE_LIMIT, LIMIT, "Warning", "InvalidNodeLimit", "no slots")
            events.seconds += AGAIN_SECONDS
    assert (events.writes, len(events.kept)) == (2, 1)


async def test_another_reason_is_told_at_once(events: Events) -> None:
    recorder = events.recorder()
    for reason in ("Started", "Succeeded"):
        assert await recorder.post(NODE_LIMIT, LIMIT, "Normal", reason, "x")
    assert len(events.kept) == 2


async def test_an_event_that_kubernetes_has_dropped_is_made_anew(events: Events) -> None:
    recorder = events.recorder()
    await recorder.post(NODE_LIMIT, LIMIT, "Warning", "MalformedLease", "first")
    events.kept.clear()
    events.seconds += AGAIN_SECONDS
    await recorder.post(NODE_LIMIT, LIMIT, "Warning", "MalformedLease", "second")
    assert [event["message"] for event in events.kept.values()] == ["second"]


async def test_an_event_that_is_refused_holds_nothing_up(events: Events, caplog: pytest.LogCaptureFixture) -> None:
    events.refusing = True
    assert await events.recorder().post(NODE_LIMIT, LIMIT, "Warning", "MalformedLease", "first")
    assert "An Event about NodeLimit gpu is lost: no" in caplog.text

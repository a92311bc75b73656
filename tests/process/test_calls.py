"""Functions of users in whole runs: what they may return and raise, and what becomes of the image."""

from collections import Counter
from pathlib import Path

import pytest

from tests.process.harness import Lab, call, codes

EXPECTED = {
    "fine": "ok",
    "nothing": "ok",
    "added by itself": "ok",
    "raises once": "ok",
    "one of two": "ok",
    "two of two": "ok",
    "skip": "Skipped",
    "nan": "InvalidOutput",
    "infinity inside": "InvalidOutput",
    "object": "InvalidOutput",
    "half a surrogate": "InvalidOutput",
    "number as key": "InvalidOutput",
    "raises": "CallFailed",
    "stop iteration": "CallFailed",
    "system exit": "CallFailed",
    "cancelled": "CallFailed",
    "assertion": "CallFailed",
    "image error": "TooDark",
    "image error, worth another try": "CameraBusy",
    "too slow": "Timeout",
}
RETRIED = {"raises", "stop iteration", "system exit", "cancelled", "assertion", "image error, worth another try", "too slow"}
RETRIES = 1


@pytest.mark.parametrize("function", ["misbehave", "misbehave_async", "returns_awaitable"])
def test_whatever_a_function_does_its_image_ends_in_a_row_and_the_others_never_notice(lab: Lab, function: str) -> None:
    log = lab.folder / "log"
    source = {"urls": [{"id": identity, "url": "file:///nowhere"} for identity in (*EXPECTED, *map(str, range(10)))]}
    step = call(
        "work",
        function,
        limit="gpu",
        arguments={"log": str(log)},
        timeout="1s",
        retries={"limit": RETRIES, "backoff": "1ms"},
        concurrency=2,
    )
    ended = lab.run(lab.job([step], source, failurePolicy={"maxFailureRate": 1})).expect(5)
    rows = lab.output().by_id()
    assert codes(rows) == {**EXPECTED, **{str(number): "ok" for number in range(10)}}
    assert ended.answer["images"] == {"total": 30, "succeeded": 16, "failed": 13, "skipped": 1}

    attempts = Counter(log.read_text().splitlines())
    assert {name: attempts[name] for name in EXPECTED} == {
        name: 1 + (RETRIES if name in RETRIED else name == "raises once") for name in EXPECTED
    }
    for name, row in rows.items():
        if row["error"] is not None:
            assert row["error"]["attempts"] == attempts[name], name
            assert row["error"]["retryable"] == (name in RETRIED), name
    assert rows["fine"]["outputs"] == {"work": {"fine": "fine"}}
    assert rows["nothing"]["outputs"] == {}
    assert rows["added by itself"]["outputs"] == {"mine": {"found": True}, "work": {"fine": "added by itself"}}
    for name in ("one of two", "two of two"):
        assert rows[name]["outputs"] == {"work": {"id": name}}
    assert rows["nan"]["outputs"] == rows["infinity inside"]["outputs"] == {}
    assert rows["skip"]["status"] == "skipped"
    assert rows["skip"]["error"]["message"] == "it is blurred"
    lab.verify()


def test_a_function_that_outlives_its_timeout_keeps_its_worker_and_its_slot_until_it_returns(lab: Lab) -> None:
    log = lab.folder / "log"
    source = {"urls": [{"id": "too slow", "url": "file:///a"}, {"id": "next", "url": "file:///b"}]}
    step = call("work", "misbehave", limit="gpu", arguments={"log": str(log)}, timeout="1s", retries={"limit": RETRIES, "backoff": "1ms"})
    lab.run(lab.job([step], source, failurePolicy={"maxFailureRate": 1})).expect(5)
    assert codes(lab.output().by_id()) == {"too slow": "Timeout", "next": "ok"}
    assert Path(f"{log}.slow").read_text().split() == ["enter", "leave"] * (1 + RETRIES)


def test_a_function_that_is_not_there_is_told_before_anything_runs(lab: Lab) -> None:
    source = {"urls": [{"url": "file:///a"}]}
    missing_name = lab.run(lab.job([call("work", "no_such_function")], source, name="name")).expect(2)
    assert "no_such_function" in missing_name.err
    assert not lab.output("name").folder.exists(), "nothing is written that would refuse the corrected job"
    step = {"name": "work", "call": {"function": "no_such_module:function"}}
    missing_module = lab.run(lab.job([step], source, name="module")).expect(2)
    assert "no_such_module" in missing_module.err

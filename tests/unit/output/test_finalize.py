"""The end of a job: counts that are true, and a mark of success that is earned."""

import json
from collections.abc import Awaitable, Callable

import pytest

from imagejob_api.imagejob import FailurePolicy
from imagejob_runner.exceptions import StorageError
from imagejob_runner.output import committed_chunks, encode_rows, finalize, read_rows, reopen, within_policy
from tests.unit.output.conftest import DoneJob

Make = Callable[..., Awaitable[DoneJob]]
LENIENT = FailurePolicy(max_failure_rate=0.1)
STRICT = FailurePolicy(max_failure_rate=0)


def written(job: DoneJob) -> dict[str, int]:
    names = ("_SUCCESS", "summary.json", "errors.jsonl")
    return {name: (job.folder / name).stat().st_mtime_ns for name in names if (job.folder / name).exists()}


async def test_a_success(done: Make) -> None:
    job = await done()
    summary = await finalize(job.output, job.plan, LENIENT, {"elapsedSeconds": 1.5})
    assert (summary.total, summary.succeeded, summary.failed, summary.skipped, summary.missing) == (10, 8, 1, 1, 0)
    assert summary.within_policy
    assert summary.success
    assert summary.examples.keys() == {"NotFound"}
    assert summary.examples["NotFound"].startswith("3: ")
    record = json.loads((job.folder / "summary.json").read_bytes())
    assert len(record.pop("digest")) == 16
    assert record == {
        "name": "job",
        "fingerprint": job.plan.fingerprint,
        "phase": "Succeeded",
        "images": {"total": 10, "succeeded": 8, "failed": 1, "skipped": 1},
        "errorCodes": {"NotFound": 1},
        "facts": {"elapsedSeconds": 1.5},
    }
    errors = (job.folder / "errors.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in errors] == ["3"]
    assert "_SUCCESS" in written(job)


async def test_a_second_time_nothing_is_written(done: Make) -> None:
    job = await done()
    await finalize(job.output, job.plan, LENIENT, {"elapsedSeconds": 1.5})
    before = written(job)
    again = await finalize(job.output, job.plan, LENIENT, {"elapsedSeconds": 9})
    assert dict(again.facts) == {"elapsedSeconds": 1.5}
    assert again.examples.keys() == {"NotFound"}
    assert written(job) == before


async def test_too_many_failures_earn_no_mark(done: Make) -> None:
    job = await done()
    assert (await finalize(job.output, job.plan, LENIENT)).success
    summary = await finalize(job.output, job.plan, STRICT)
    assert not summary.within_policy
    assert set(written(job)) == {"summary.json", "errors.jsonl"}
    assert json.loads((job.folder / "summary.json").read_bytes())["phase"] == "Failed"


async def test_missing_rows_end_nothing(done: Make) -> None:
    job = await done(commit=False)
    await job.commit(0, 3)
    summary = await finalize(job.output, job.plan, LENIENT)
    assert summary.missing == 6
    assert not summary.success
    assert written(job) == {}


async def test_a_row_done_again_is_counted_again(done: Make) -> None:
    job = await done()
    await finalize(job.output, job.plan, LENIENT)
    await reopen(job.output)
    assert "_SUCCESS" not in written(job)
    rows = await read_rows(job.output, job.plan, 1, 1)
    assert rows[0]["id"] == "3"
    rows[0] = {**rows[0], "status": "ok", "error": None}
    job.path(1).write_bytes(encode_rows(rows, job.plan.format))
    summary = await finalize(job.output, job.plan, STRICT)
    assert (summary.succeeded, summary.failed) == (9, 0)
    assert (job.folder / "errors.jsonl").read_bytes() == b""
    assert "_SUCCESS" in written(job)


async def test_a_damaged_part_is_named(done: Make) -> None:
    job = await done()
    job.path(2).write_bytes(job.path(2).read_bytes()[:-3])
    with pytest.raises(StorageError, match="part-00000-00002"):
        await finalize(job.output, job.plan, LENIENT)
    job.path(2).write_bytes(job.path(1).read_bytes()[:0])
    with pytest.raises(StorageError, match=r"part-00000-00002|chunk 2 has 0 of 3 rows"):
        await finalize(job.output, job.plan, LENIENT)


async def test_which_chunks_are_done(done: Make) -> None:
    job = await done(commit=False)
    await job.commit(0, 1, 2)
    for name in ("part-00000-00001", "part-00001-00009", "part-0-0", "notes"):
        (job.folder / "results" / f"{name}.{job.plan.format}").write_bytes(b"")
    assert await committed_chunks(job.output, job.plan) == {0, 1, 2}
    assert await committed_chunks(job.output, job.plan, [0]) == {0, 2}
    assert await committed_chunks(job.output, job.plan, [1]) == {1}
    with pytest.raises(StorageError, match=r"part-00001-00003.* is not there"):
        await read_rows(job.output, job.plan, 1, 3)


@pytest.mark.parametrize(
    ("policy", "failed", "total", "allowed"),
    [
        ({}, 10, 100, True),
        ({}, 11, 100, False),
        ({}, 0, 0, True),
        ({"max_failure_rate": 0.29}, 29, 100, True),
        ({"max_failure_rate": 0.29}, 30, 100, False),
        ({"max_failure_rate": 1, "max_failures": 5}, 6, 100, False),
        ({"max_failure_rate": 0, "max_failures": 5}, 1, 100, False),
        ({"max_failure_rate": 1, "max_failures": 0}, 0, 100, True),
    ],
)
def test_the_policy(policy: dict[str, float], failed: int, total: int, *, allowed: bool) -> None:
    assert within_policy(FailurePolicy.model_validate(policy), failed=failed, total=total) is allowed

"""The proof: a whole output passes, and each kind of damage is found, named and given a remedy."""

import json
from collections.abc import Awaitable, Callable

import pytest

from imagejob_api.imagejob import FailurePolicy
from imagejob_runner.exceptions import StorageError
from imagejob_runner.output import decode_rows, encode_rows, finalize, verify
from imagejob_runner.rows import Row
from imagejob_runner.storage import open_output
from tests.unit.output.conftest import DoneJob

Make = Callable[..., Awaitable[DoneJob]]


async def finished(done: Make) -> DoneJob:
    job = await done()
    await finalize(job.output, job.plan, FailurePolicy())
    return job


async def problems(job: DoneJob) -> list[str]:
    report = await verify(job.output)
    assert report.ok == (report.problem_count == 0) == (not report.problems)
    return [str(problem) for problem in report.problems]


async def test_a_whole_output_passes(done: Make) -> None:
    job = await finished(done)
    report = await verify(job.output)
    assert report.problems == []
    assert report.ok
    assert report.counts == {"total": 10, "succeeded": 8, "failed": 1, "skipped": 1}


async def test_no_output(done: Make) -> None:
    job = await done(commit=False)
    with pytest.raises(StorageError, match="holds no plan"):
        await verify(open_output(str(job.folder / "results")))


async def test_an_unfinished_output(done: Make) -> None:
    job = await done(commit=False)
    await job.commit(0, 1, 2)
    found = await problems(job)
    assert len(found) == 1
    assert "part-00001-00003" in found[0]
    assert "1 inputs have no row; run the same job again" in found[0]


async def test_an_output_that_was_not_finalized(done: Make) -> None:
    assert any("summary.json: missing, although the rows are whole" in problem for problem in await problems(await done()))


def edit(job: DoneJob, chunk: int, change: Callable[[list[Row]], list[Row]]) -> None:
    rows = decode_rows(job.path(chunk).read_bytes(), job.plan.format)
    job.path(chunk).write_bytes(encode_rows(change(rows), job.plan.format))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], "'8' has no row"),
        (lambda rows: [*rows, rows[0]], "line 4: '6' has a second row"),
        (lambda rows: [{**rows[0], "id": "99"}, *rows[1:]], "line 1: a row of '99', which is no input of this chunk"),
        (lambda rows: [{**rows[0], "id": "0"}, *rows[1:]], "line 1: a row of '0', which is no input of this chunk"),
        (lambda rows: [{**rows[0], "url": "/x"}, *rows[1:]], "line 1: the row of '6' has another URL"),
        (lambda _: [], "'7' has no row"),
    ],
)
async def test_wrong_rows(done: Make, change: Callable[[list[Row]], list[Row]], message: str) -> None:
    job = await finished(done)
    edit(job, 2, change)
    found = await problems(job)
    assert any(message in problem and "part-00000-00002" in problem and "run the same job again" in problem for problem in found), found
    assert any(problem.startswith("_SUCCESS: the output is marked as a success") for problem in found)


@pytest.mark.parametrize("keep", [0, 1, 10, -1])
async def test_a_torn_part(done: Make, keep: int) -> None:
    job = await finished(done)
    job.path(1).write_bytes(job.path(1).read_bytes()[:keep])
    assert any("part-00001-00001" in problem for problem in await problems(job))


async def test_a_part_in_the_wrong_place(done: Make) -> None:
    job = await finished(done)
    part = job.path(0)
    for name in ("part-00001-00000", "part-00000-00099", "stray"):
        (part.parent / f"{name}.{job.plan.format}").write_bytes(part.read_bytes())
    found = await problems(job)
    assert sum("no chunk of the plan has this part" in problem for problem in found) == 3


async def test_two_parts_swapped(done: Make) -> None:
    job = await finished(done)
    first, second = job.path(0).read_bytes(), job.path(1).read_bytes()
    job.path(0).write_bytes(second)
    job.path(1).write_bytes(first)
    found = await problems(job)
    assert sum("no input of this chunk" in problem for problem in found) == 6


async def test_files_that_say_something_else(done: Make) -> None:
    job = await finished(done)
    summary = job.folder / "summary.json"
    good = summary.read_bytes()
    record = json.loads(good)
    record["images"]["succeeded"] = 9
    summary.write_text(json.dumps(record))
    assert any("summary.json: says" in problem for problem in await problems(job))
    summary.write_bytes(good.replace(b'"Succeeded"', b'"Failed"'))
    assert any("_SUCCESS: the output is marked" in problem for problem in await problems(job))
    summary.write_text("{")
    assert any("summary.json" in problem and "damaged" in problem for problem in await problems(job))
    summary.unlink()
    assert any("summary.json: missing" in problem for problem in await problems(job))
    summary.write_bytes(good)
    (job.folder / "errors.jsonl").write_bytes(b"")
    assert any("errors.jsonl: lists 0 failed rows, but the parts have 1" in problem for problem in await problems(job))
    (job.folder / "errors.jsonl").unlink()
    assert any("errors.jsonl: lists 0" in problem for problem in await problems(job))


async def test_a_run_killed_just_before_its_last_write(done: Make) -> None:
    job = await finished(done)
    (job.folder / "_SUCCESS").unlink()
    assert any("_SUCCESS: missing" in problem for problem in await problems(job))
    assert (await finalize(job.output, job.plan, FailurePolicy())).success
    assert await problems(job) == []


async def test_a_damaged_manifest(done: Make) -> None:
    job = await finished(done)
    path = job.folder / job.plan.manifest / "00001.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    assert any("00001.jsonl" in problem and "use another output" in problem for problem in await problems(job))
    path.unlink()
    assert any("00001.jsonl" in problem for problem in await problems(job))


async def test_holds_that_are_right(done: Make) -> None:
    job = await finished(done)
    first = job.hold() + job.hold(fence=3, start=2.0, end=3.0) + job.hold(slot=1, fence=2, start=1.5, end=9.0)
    second = job.hold(fence=4, start=3.0, end=3.0) + job.hold(node="m", start=1.0, end=9.0) + job.hold(boot="c", start=0.0, end=99.0)
    await job.output.create("_imagejob/holds/00000-run1-0001.jsonl", first)
    await job.output.create("_imagejob/holds/00001-run1-0001.jsonl", second + job.hold(limit="disk", start=0.0, end=99.0))
    await job.output.create("_imagejob/holds/00001-run2-0001.jsonl", job.hold(fence=1, start=3.5, end=4.0))
    report = await verify(job.output)
    assert report.problems == []
    assert (report.holds.records, report.holds.slots, report.holds.overlaps) == (8, 5, 0)


@pytest.mark.parametrize(
    ("holds", "message"),
    [
        ([{}, {"fence": 2, "start": 1.9, "end": 3.0, "id": "p/2"}], "slot 0 of 'gpu' on n: p/2 held it from 1.9, but p/1 until 2.0"),
        ([{"end": 9.0}, {"fence": 2, "start": 2.0, "end": 3.0}, {"fence": 3, "start": 4.0, "end": 5.0}], "from 4.0, but p/1 until 9.0"),
        ([{}, {"fence": 1, "start": 2.0, "end": 3.0}], "fence 1 comes after 1, but fences only grow"),
        ([{"fence": 5}, {"fence": 4, "start": 2.0, "end": 3.0}], "fence 4 comes after 5"),
        ([{"start": 3.0}], "the hold ends at 2.0, before it starts at 3.0"),
        ([{"slot": "x"}], "no audit record"),
    ],
)
@pytest.mark.parametrize("apart", [True, False])
async def test_holds_that_are_wrong(done: Make, holds: list[dict[str, object]], message: str, *, apart: bool) -> None:
    job = await finished(done)
    lines = [job.hold(**hold) for hold in holds]
    files = lines if apart else [b"".join(lines)]
    for number, data in enumerate(files):
        await job.output.create(f"_imagejob/holds/{number:05d}-run-0001.jsonl", data)
    assert any(message in problem for problem in await problems(job))


async def test_a_torn_audit_record(done: Make) -> None:
    job = await finished(done)
    await job.output.create("_imagejob/holds/00000-run-0001.jsonl", job.hold() + job.hold()[:20])
    assert any("00000-run-0001.jsonl, line 2: no audit record" in problem for problem in await problems(job))

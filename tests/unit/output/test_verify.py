"""The proof: a whole output passes, and each kind of damage is found, named and given a remedy."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagejob_api.imagejob import FailurePolicy
from imagejob_runner.audit import holds_name
from imagejob_runner.exceptions import StorageError
from imagejob_runner.jsontext import exact
from imagejob_runner.output import decode_rows, encode_rows, finalize, parquet, verify
from imagejob_runner.output.holds import check_holds
from imagejob_runner.output.parquet import SCHEMA
from imagejob_runner.output.report import VerifyReport
from imagejob_runner.rows import Row
from imagejob_runner.sealed import LINE, sealed_file
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
    del record["digest"]
    summary.write_bytes(sealed_file({**record, "images": {**record["images"], "succeeded": 9}}))
    assert any("summary.json: says" in problem for problem in await problems(job))
    summary.write_bytes(sealed_file({**record, "phase": "Failed"}))
    assert any("_SUCCESS: the output is marked" in problem for problem in await problems(job))
    summary.write_text("{")
    assert any("summary.json" in problem and "damaged" in problem for problem in await problems(job))
    summary.unlink()
    assert any("summary.json: missing" in problem for problem in await problems(job))
    summary.write_bytes(good)
    (job.folder / "errors.jsonl").write_bytes(b"")
    assert any("errors.jsonl: lists 0 failed rows, but the parts have 1" in problem for problem in await problems(job))
    (job.folder / "errors.jsonl").unlink()
    assert any("errors.jsonl: not there, or not to be read" in problem for problem in await problems(job))


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
    second = job.hold(fence=4, start=3.0, end=3.0) + job.hold(node="m", start=1.0, end=9.0) + job.hold(boot="c", start=0.5, end=99.0)
    await job.write_holds(first, run="run1")
    await job.write_holds(second + job.hold(limit="disk", start=0.0, end=99.0, asked=0.0), shard=1, run="run1")
    await job.write_holds(job.hold(fence=1, start=3.5, end=4.0), shard=1, run="run2")
    report = await verify(job.output)
    assert report.problems == []
    assert (report.holds.records, report.holds.slots, report.holds.overlaps) == (8, 5, 0)


async def test_a_run_of_more_audit_files_than_their_names_have_digits_for(done: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await finished(done)
    written = sorted(holds_name(0, "run", number, b"") for number in range(1, 10_002))

    async def names(_: str) -> AsyncIterator[str]:
        for name in written:
            yield name

    async def lines(_: str) -> AsyncIterator[bytes]:
        for line in ():
            yield line

    monkeypatch.setattr(job.output, "names", names)
    monkeypatch.setattr(job.output, "lines", lines)
    report = VerifyReport("x", total=10)
    await check_holds(job.output, report)
    assert report.problems == []
    written.remove(holds_name(0, "run", 10_000, b""))
    await check_holds(job.output, report)
    assert ["file 10000 of run run should stand before it" in str(problem) for problem in report.problems] == [True]


@pytest.mark.parametrize(
    ("holds", "message"),
    [
        ([{}, {"fence": 2, "start": 1.9, "end": 3.0, "id": "p/2"}], "slot 0 of 'gpu' on n: p/2 held it from 1.9, but p/1 until 2.0"),
        ([{"end": 9.0}, {"fence": 2, "start": 2.0, "end": 3.0}, {"fence": 3, "start": 4.0, "end": 5.0}], "from 4.0, but p/1 until 9.0"),
        ([{}, {"fence": 1, "start": 2.0, "end": 3.0}], "fence 1 comes after 1, but fences only grow"),
        ([{"fence": 5}, {"fence": 4, "start": 2.0, "end": 3.0}], "fence 4 comes after 5"),
        ([{"start": 3.0}], "the hold ends at 2.0, before it starts at 3.0"),
        ([{"slot": "x"}], "no audit record (slot is 'x')"),
        ([{"end": float("nan")}, {"fence": 2, "start": 1.5, "end": 3.0}], "line 1: no audit record (NaN is no number of JSON)"),
        ([{"start": float("inf"), "end": float("inf")}], "Infinity is no number of JSON"),
        ([{"slot": True}], "slot is 'True'"),
        ([{"fence": -1}], "fence -1: that cannot be"),
        ([{"asked": 1.5}], "asked at 1.5, busy for 1.0, slot 0, fence 1: that cannot be"),
        ([{"busy": -1.0}], "busy for -1.0"),
        ([{"more": 1}], "no audit record (it has node, boot"),
    ],
)
@pytest.mark.parametrize("apart", [True, False])
async def test_holds_that_are_wrong(done: Make, holds: list[dict[str, object]], message: str, *, apart: bool) -> None:
    job = await finished(done)
    lines = [job.hold(**hold) for hold in holds]
    files = lines if apart else [b"".join(lines)]
    for number, data in enumerate(files):
        await job.write_holds(data, shard=number)
    assert any(message in problem for problem in await problems(job))


async def test_audit_records_that_are_not_as_they_were_written(done: Make) -> None:
    job = await finished(done)
    names = [
        await job.write_holds(job.hold(fence=number, start=10.0 * number, end=10.0 * number + 1), number=number) for number in (1, 2, 3)
    ]
    assert await problems(job) == []
    last = job.folder / names[2]
    good = last.read_bytes()
    last.write_bytes(good + good[:20])
    found = await problems(job)
    assert any("line 2: no audit record" in problem for problem in found)
    assert any("its bytes are not those that its name has the digest of" in problem for problem in found)
    last.write_bytes(good.replace(b"p/1", b"p/2"))
    assert any("its bytes are not those" in problem for problem in await problems(job))
    last.write_bytes(good)
    (job.folder / names[1]).unlink()
    assert any("file 2 of run run should stand before it" in problem for problem in await problems(job))
    last.unlink()
    assert await problems(job) == [], "the last records of a process that was killed are missing"
    (job.folder / "_imagejob/holds/notes.txt").write_text("mine")
    assert any("no file of audit records has such a name" in problem for problem in await problems(job))
    (job.folder / "_imagejob/holds/notes.txt").unlink()
    await job.write_holds(b"[" * 100_000 + b"\n", run="deep")
    assert any("nested more than 100 deep" in problem for problem in await problems(job))


def lines_of(job: DoneJob, chunk: int) -> list[bytes]:
    return job.path(chunk).read_bytes().splitlines(keepends=True)


def sealed_line(text: bytes) -> bytes:
    return LINE.close(text.removesuffix(b"\n"))


GOOD_ROW = b'{"id":"0","url":"/data/0.jpg","status":"ok","outputs":{"x":1},"error":null,"provenance":{},"timings":{}}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD_ROW.replace(b'{"x":1}', b"null"), "outputs, provenance and timings are objects"),
        (GOOD_ROW.replace(b'{"x":1}', b'{"x":NaN}'), "NaN is no number of JSON"),
        (GOOD_ROW.replace(b'{"x":1}', b'{"x":1e999}'), "the number 1e999 is too large"),
        (GOOD_ROW.replace(b'{"x":1}', b'{"x":1,"x":2}'), "an object has the key 'x' twice"),
        (GOOD_ROW.replace(b'"status"', b'"id":"0","status"'), "an object has the key 'id' twice"),
        (GOOD_ROW.replace(b'{"x":1}', b'{"x":"\\ud800"}'), "half of a surrogate pair"),
        (GOOD_ROW.replace(b"1}", b"[" * 100_000 + b"]" * 100_000 + b"}"), "nested more than 100 deep"),
        (GOOD_ROW.replace(b"1}", b"[" * 100 + b"]" * 100 + b"}"), "nested more than 100 deep"),
        (GOOD_ROW.replace(b'"timings":{}', b'"timings":{"x":"1"}'), "timings are seconds"),
        (GOOD_ROW.replace(b'"timings":{}', b'"timings":{},"more":1'), "no row; a row has"),
        (GOOD_ROW.replace(b'"error":null', b'"error":{}'), "its error says otherwise"),
        (b'{"id":"0"}', "no row"),
    ],
)
async def test_a_row_that_cannot_be_though_its_digest_is_right(done: Make, text: bytes, message: str) -> None:
    job = await finished(done)
    if job.plan.format == "parquet":
        return  # its columns have types; what is JSON in them is read by the same reader
    job.path(0).write_bytes(b"".join([sealed_line(text), *lines_of(job, 0)[1:]]))
    found = await problems(job)
    assert any(message in problem and "part-00000-00000.jsonl: line 1" in problem for problem in found), found


async def test_a_row_that_was_changed_after_it_was_written(done: Make) -> None:
    job = await finished(done)
    if job.plan.format == "parquet":
        data = job.path(0).read_bytes()
        job.path(0).write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
        assert any("not those that were written" in problem for problem in await problems(job))
        return
    first, *rest = lines_of(job, 0)
    for changed in (
        first.replace(b'{"x":1}', b'{"x":2}'),
        first.replace(b",", b", ", 1),
        first[:-19] + b"0" * 16 + b'"}\n',
        GOOD_ROW + b"\n",
    ):
        job.path(0).write_bytes(b"".join([changed, *rest]))
        assert any("line 1: the row is damaged: its digest" in problem for problem in await problems(job)), changed


async def test_a_parquet_part_of_another_schema(done: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await finished(done)
    if job.plan.format == "jsonl":
        return
    rows = decode_rows(job.path(0).read_bytes(), "parquet")
    for schema in (SCHEMA.remove(SCHEMA.get_field_index("outputs")), SCHEMA.append(pa.field("more", pa.string()))):
        monkeypatch.setattr(parquet, "SCHEMA", schema)
        damaged = encode_rows(rows, "parquet")
        monkeypatch.undo()
        job.path(0).write_bytes(damaged)
        assert any("not a readable Parquet file of rows (its columns are" in problem for problem in await problems(job))
    pq.write_table(pa.table({"id": ["0"]}), job.path(0))
    assert any("it has no digest" in problem for problem in await problems(job))
    deep = [{**row, "outputs": {"x": "DEEP"}} for row in rows]
    job.path(0).write_bytes(encode_rows(deep, "parquet"))
    monkeypatch.setattr(parquet, "exact", lambda value: "[" * 100_000 if value == {"x": "DEEP"} else exact(value))
    job.path(0).write_bytes(encode_rows(deep, "parquet"))
    monkeypatch.undo()
    assert any("nested more than 100 deep" in problem for problem in await problems(job))


async def test_rows_in_another_order(done: Make) -> None:
    job = await finished(done)
    edit(job, 0, lambda rows: rows[::-1])
    assert any("not in the order of the inputs" in problem for problem in await problems(job))


def swap_an_input(job: DoneJob) -> None:
    """Another input in the manifest and in its part, as if it had always been there."""
    path = job.folder / job.plan.manifest / "00000.jsonl"
    path.write_bytes(path.read_bytes().replace(b"/data/0.jpg", b"/data/x.jpg"))
    edit(job, 0, lambda rows: [{**rows[0], "url": "/data/x.jpg"}, *rows[1:]])


def double_an_input(job: DoneJob) -> None:
    """One id with two rows, another with none, and the manifest says so, too."""
    path = job.folder / job.plan.manifest / "00000.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"id":"7","url":"/data/7.jpg"', b'"id":"0","url":"/data/0.jpg"'))
    edit(job, 2, lambda rows: [rows[0], {**rows[1], "id": "0", "url": "/data/0.jpg"}, rows[2]])


@pytest.mark.parametrize("change", [swap_an_input, double_an_input])
async def test_inputs_that_were_not_planned(done: Make, change: Callable[[DoneJob], None]) -> None:
    job = await finished(done)
    change(job)
    found = await problems(job)
    assert any(f"{job.plan.manifest}: has other inputs than were planned" in problem for problem in found), found


async def test_the_planned_inputs_in_another_order(done: Make) -> None:
    job = await finished(done)
    path = job.folder / job.plan.manifest / "00000.jsonl"
    first, second, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([second, first, *rest]))
    edit(job, 0, lambda rows: [rows[1], rows[0], *rows[2:]])
    assert any("has the planned inputs, but not as they were written" in problem for problem in await problems(job))
    path.write_bytes(b"".join([first, second, *rest]))
    (path.parent / "00007.jsonl").write_bytes(first)
    assert any("no shard of the plan has this manifest" in problem for problem in await problems(job))


async def test_errors_that_are_not_those_of_the_parts(done: Make) -> None:
    job = await finished(done)
    path = job.folder / "errors.jsonl"
    good = path.read_bytes()
    for changed, message in (
        (b"garbage\n", "errors.jsonl, line 1: here or soon after, a line is not the failed row"),
        (good[:-5], "errors.jsonl, line 1: here or soon after"),
        (good[:-1], "errors.jsonl, line 1: here or soon after"),
        (good + b"torn", "errors.jsonl: lists 2 failed rows, but the parts have 1"),
        (b"", "errors.jsonl: lists 0"),
    ):
        path.write_bytes(changed)
        assert any(message in problem for problem in await problems(job)), changed


async def test_the_summary_of_another_job(done: Make) -> None:
    job = await finished(done)
    path = job.folder / "summary.json"
    good = path.read_bytes()
    record = json.loads(good)
    del record["digest"]
    for changes, message in (
        ({"name": "other"}, "summary.json: is of another job, 'other'; this output is of 'job'"),
        ({"fingerprint": "0" * 64}, "summary.json: is of another job, 'job'"),
        ({"errorCodes": {"Timeout": 1}}, "summary.json: says {'Timeout': 1} of errors, but the parts say {'NotFound': 1}"),
        ({"images": {"total": True}}, "summary.json is damaged"),
        ({"errorCodes": []}, "summary.json is damaged"),
        ({"phase": "Fine"}, "summary.json is damaged (the phase is 'Fine')"),
    ):
        path.write_bytes(sealed_file({**record, **changes}))
        found = await problems(job)
        assert any(message in problem for problem in found), found
    for damaged in (good.replace(b'"job"', b'"jab"'), good + b" ", b"[" * 100_000, good.replace(b'"facts": {}', b'"facts": {"x": NaN}')):
        path.write_bytes(damaged)
        assert any("summary.json is damaged" in problem for problem in await problems(job))


async def test_a_mark_of_success_that_is_not_empty(done: Make) -> None:
    job = await finished(done)
    (job.folder / "_SUCCESS").write_bytes(b"x")
    assert any("_SUCCESS: has 1 bytes, but is always empty" in problem for problem in await problems(job))


async def test_a_plan_that_contradicts_itself(done: Make) -> None:
    job = await finished(done)
    plan = job.folder / "_imagejob/plan.json"
    record = json.loads(plan.read_bytes())
    del record["digest"]
    for changes, message in (
        ({"fingerprint": "0" * 64}, "its fingerprint is not that of its components"),
        ({"shards": 5}, "its numbers contradict each other"),
        ({"total": 9}, "its numbers contradict each other"),
        ({"total": 0}, "is damaged"),
        ({"format": "xml"}, "is damaged"),
    ):
        plan.write_bytes(sealed_file({**record, **changes}))
        with pytest.raises(StorageError, match=message):
            await verify(job.output)
    plan.write_bytes(json.dumps(record).encode())
    with pytest.raises(StorageError, match=r"is damaged .its digest does not stand at its end"):
        await verify(job.output)

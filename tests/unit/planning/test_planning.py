"""Plans: written once and last, resumed without a write, refused when the job differs."""

import asyncio
import hashlib
import json
import tracemalloc
import uuid
from pathlib import Path
from typing import Any

import pytest

from imagejob_api.imagejob import ImageJobSpec
from imagejob_api.pod import default_chunk_size, default_shards, shard_count
from imagejob_runner.constants import PLAN_FILE
from imagejob_runner.exceptions import (
    DuplicateIdError,
    FingerprintError,
    InvalidJobError,
    ModelError,
    OutputExistsError,
    StorageError,
)
from imagejob_runner.images.recipe import fingerprint
from imagejob_runner.planning import Plan, PlannedModel, plan_job, planned_models, read_plan, shard_chunks
from imagejob_runner.storage import OutputStore, open_output
from tests.tools.s3 import S3Server
from tests.unit.planning.conftest import JobMaker, inline


async def plan(spec: ImageJobSpec, shards: int = 2, output: OutputStore | None = None) -> Plan:
    assert spec.pipeline is not None
    return await plan_job(spec, spec.pipeline, output or open_output(spec.output.url), name="job", default_shards=shards)


def files(folder: str | Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in Path(folder).rglob("*") if path.is_file()
    }


def inline_manifest(job: JobMaker, inputs: int) -> dict[str, Any]:
    path = job.folder / "list.jsonl"
    path.write_text("".join(json.dumps({"id": f"image-{number}", "url": f"/data/{number}.jpg"}) + "\n" for number in range(inputs)))
    return {"manifest": {"url": str(path)}}


async def test_every_input_is_in_one_chunk_of_the_right_shard(job: JobMaker) -> None:
    made = await plan(job(inline(20)))
    assert (made.total, made.chunk_size, made.chunks, made.shards, made.format) == (20, 3, 7, 2, "jsonl")
    output = open_output(job.output)
    chunks = [chunk for shard in range(2) async for chunk in shard_chunks(output, made, shard)]
    assert [chunk.index for chunk in chunks] == [0, 2, 4, 6, 1, 3, 5]
    assert all(chunk.index % 2 == chunk.shard for chunk in chunks)
    chunks.sort(key=lambda chunk: chunk.index)
    assert [entry.id for chunk in chunks for entry in chunk.entries] == [f"image-{number}" for number in range(20)]
    assert [len(chunk.entries) for chunk in chunks] == [3] * 6 + [2]
    with pytest.raises(StorageError, match="no shard 2"):
        _ = [chunk async for chunk in shard_chunks(output, made, 2)]


async def test_no_more_shards_than_chunks(job: JobMaker) -> None:
    assert (await plan(job(inline(4)), shards=100)).shards == 2
    assert (await plan(job(inline(4), shards=50, output={"url": f"{job.output}2"}))).shards == 2


async def test_a_second_plan_writes_nothing_and_keeps_chunks_and_shards(job: JobMaker) -> None:
    first = await plan(job(inline(20)))
    before = files(job.output)
    again = await plan(job(inline(20), chunkSize=7, shards=5, parallelism=3), shards=9)
    assert again.model_dump(exclude={"pipeline"}) == first.model_dump(exclude={"pipeline"})
    assert files(job.output) == before
    assert (await read_plan(open_output(job.output))).fingerprint == first.fingerprint


@pytest.mark.parametrize(("inputs", "parallelism"), [(20, 1), (20, 3), (300, 1), (300, 2), (4000, 1)])
async def test_a_job_that_sets_no_chunk_size_gets_one_that_suits_it_and_keeps_it(job: JobMaker, inputs: int, parallelism: int) -> None:
    made = await plan(job(inline_manifest(job, inputs), chunkSize=None, parallelism=parallelism), shards=default_shards(parallelism))
    assert made.chunk_size == default_chunk_size(inputs, parallelism, made.pipeline.steps)
    assert made.shards == shard_count(inputs, None, None, parallelism, made.pipeline.steps), "as the operator counts them"
    output = open_output(job.output)
    chunks = [chunk for shard in range(made.shards) async for chunk in shard_chunks(output, made, shard)]
    entries = [entry.id for chunk in sorted(chunks, key=lambda chunk: chunk.index) for entry in chunk.entries]
    assert entries == [f"image-{number}" for number in range(inputs)]
    again = await plan(job(inline_manifest(job, inputs), chunkSize=None, parallelism=7 * parallelism), shards=9)
    assert again.model_dump(exclude={"pipeline"}) == made.model_dump(exclude={"pipeline"})


async def test_how_many_processes_there_are_may_be_told_beside_the_job(job: JobMaker) -> None:
    spec = job(inline(300), chunkSize=None)
    assert spec.pipeline is not None
    made = await plan_job(spec, spec.pipeline, open_output(spec.output.url), name="job", default_shards=9, parallelism=9)
    assert (made.chunk_size, made.shards) == (34, 9)


async def test_the_order_of_the_inputs_makes_no_other_job(job: JobMaker) -> None:
    source = inline(5)
    first = await plan(job(source))
    assert (await plan(job({"urls": source["urls"][::-1]}))).fingerprint == first.fingerprint


async def test_how_it_runs_makes_no_other_job(job: JobMaker) -> None:
    first = await plan(job(inline(5)))
    steps = job.steps(
        download={"maxBytes": 5, "headers": {"A": "b"}, "maxRedirects": 1, "allowedNetworks": ["10.0.0.0/8"]},
        transform={"decode": {"maxPixels": 5, "device": "gpu"}},
        infer={"batchSize": 2, "threads": 3, "device": "cpu", "compile": "off"},
        step={"concurrency": 2, "timeout": "5s", "retries": {"limit": 7}, "limits": [{"name": "gpu", "hold": "1s"}]},
    )
    moved = job.folder / "moved.pt"
    moved.write_bytes(job.weights.read_bytes())
    steps[2]["infer"]["model"]["weights"] = moved.as_uri()
    again = await plan(job(inline(5), steps=steps, priority=5))
    assert again.fingerprint == first.fingerprint
    assert again.pipeline.steps[2].concurrency == 2, "the pipeline is the one that was given"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"infer": {"preprocess": {"size": 256}}}, r"pipeline.steps.classify.infer.preprocess.size: was 224, now 256"),
        ({"infer": {"precision": "bf16"}}, r'pipeline.steps.classify.infer.precision: was "fp32", now "bf16"'),
        ({"infer": {"outputs": {"topK": {"k": 3}}}}, r"pipeline.steps.classify.infer.outputs.topK.k: was 5, now 3"),
        ({"infer": {"outputs": {"embedding": "l2"}}}, r'outputs.embedding: was \(nothing\), now "l2"'),
        ({"infer": {"labelNames": ["cat", "dog"]}}, r'labelNames: was \(nothing\), now \["cat", "dog"\]'),
        ({"transform": {"decode": {"draft": False}}}, r"pipeline.steps.transform.transform.decode.draft: was true, now false"),
        ({"transform": {"operations": [{"crop": {"width": 5, "height": 5}}]}}, r"transform.operations: was \[\], now"),
    ],
)
async def test_what_differs_is_named(job: JobMaker, changes: dict[str, Any], said: str) -> None:
    await plan(job(inline(5)))
    before = files(job.output)
    with pytest.raises(FingerprintError, match=said) as caught:
        await plan(job(inline(5), steps=job.steps(**changes)))
    assert "another output.url" in str(caught.value)
    assert "source" not in str(caught.value)
    assert files(job.output) == before


async def test_a_changed_model_is_seen_by_its_contents(job: JobMaker) -> None:
    await plan(job(inline(5)))
    job.weights.write_bytes(b"other weights")
    was, now = (hashlib.sha256(data).hexdigest() for data in (b"weights", b"other weights"))
    with pytest.raises(FingerprintError, match=rf'classify.infer.model.weights.sha256: was "{was}", now "{now}"'):
        await plan(job(inline(5)))


async def test_changed_labels_are_seen_by_their_contents(job: JobMaker) -> None:
    labels = job.folder / "labels.txt"
    labels.write_text("cat\n")
    steps = job.steps(infer={"labels": str(labels)})
    await plan(job(inline(5), steps=steps))
    labels.write_text("dog\n")
    with pytest.raises(FingerprintError, match=r"classify.infer.labels.sha256"):
        await plan(job(inline(5), steps=steps))


async def test_the_plan_knows_the_models(job: JobMaker) -> None:
    labels = job.folder / "labels.txt"
    labels.write_text("cat\n")
    made = await plan(job(inline(1), steps=job.steps(infer={"labels": str(labels)})))
    stored = await read_plan(open_output(job.output))
    infer = next(step.infer for step in made.pipeline.steps if step.infer is not None)
    planned = PlannedModel(hashlib.sha256(b"weights").hexdigest(), fingerprint(infer.preprocess), hashlib.sha256(b"cat\n").hexdigest())
    assert planned_models(stored.components) == {"classify": planned}
    assert planned_models({"steps": [{"name": "count", "call": {}}]}) == {}
    with pytest.raises(ValueError, match="name no models"):
        planned_models({"steps": [{"name": "classify", "infer": {}}]})


async def test_changed_steps_and_calls(job: JobMaker) -> None:
    call = {"name": "count", "call": {"function": "a:b", "arguments": {"x": [1, {"y": 2}]}}}
    await plan(job(inline(5), steps=[call]))
    other = {"name": "count", "call": {"function": "a:b", "arguments": {"x": [1, {"y": 3}]}}}
    with pytest.raises(FingerprintError, match=r"pipeline.steps.count.call.arguments.x: was"):
        await plan(job(inline(5), steps=[other]))
    with pytest.raises(FingerprintError, match=r'pipeline.steps.order: was \["count"\], now \["count", "save"\]'):
        await plan(job(inline(5), steps=[call, {"name": "save", "save": {}}]))


async def test_a_changed_source_is_counted(job: JobMaker) -> None:
    await plan(job(inline(5)))
    urls = [*inline(4)["urls"], {"id": "new-1", "url": "/n"}, {"id": "new-2", "url": "/n"}]
    urls[0] = {"id": "image-0", "url": "/elsewhere.jpg"}
    with pytest.raises(FingerprintError, match="source: 2 inputs added, 1 removed, 1 with another URL"):
        await plan(job({"urls": urls}))


async def test_a_changed_format_is_refused(job: JobMaker) -> None:
    await plan(job(inline(5)))
    with pytest.raises(FingerprintError, match=r"output.format: was 'jsonl', now 'parquet'"):
        await plan(job(inline(5), output={"format": "parquet"}))


async def test_a_prefix_is_listed_again(job: JobMaker) -> None:
    photos = job.folder / "photos"
    photos.mkdir()
    for number in range(4):
        (photos / f"{number}.jpg").write_bytes(b"")
    source = {"prefix": {"url": str(photos)}}
    output = {"url": str(photos / "out")}
    first = await plan(job(source, output=output))
    assert first.total == 4
    await open_output(output["url"]).create("results/part-00000-00000.jsonl", b"")
    assert (await plan(job(source, output=output))).fingerprint == first.fingerprint, "the output is no part of the source"
    (photos / "new.jpg").write_bytes(b"")
    with pytest.raises(FingerprintError, match="1 inputs added, 0 removed"):
        await plan(job(source, output=output))


async def test_duplicate_ids_are_refused_before_anything_is_written(job: JobMaker) -> None:
    manifest = job.folder / "inputs.jsonl"
    urls = [*inline(10)["urls"], {"id": "image-3", "url": "/other.jpg"}]
    manifest.write_text("".join(f"{json.dumps(url)}\n" for url in urls))
    with pytest.raises(DuplicateIdError, match="inputs 4 and 11 of the source both have the id 'image-3'"):
        await plan(job({"manifest": {"url": str(manifest)}}))
    assert files(job.output) == {}


async def test_ids_that_only_look_alike_are_different(job: JobMaker) -> None:
    names = ["é", "e\u0301", "A", "a", "a ", "../a", "a\n", "a\\n"]
    made = await plan(job({"urls": [{"id": name, "url": "/x"} for name in names]}))
    output = open_output(job.output)
    found = [entry.id for shard in range(made.shards) async for chunk in shard_chunks(output, made, shard) for entry in chunk.entries]
    assert sorted(found) == sorted(names)


async def test_no_inputs(job: JobMaker) -> None:
    (job.folder / "empty").mkdir()
    with pytest.raises(InvalidJobError, match=r"lists no inputs: nothing below .*empty fits the glob '\*\*/\*'"):
        await plan(job({"prefix": {"url": str(job.folder / "empty")}}))
    (job.folder / "empty.txt").write_text("\n")
    with pytest.raises(InvalidJobError, match=r"empty.txt has no rows"):
        await plan(job({"manifest": {"url": str(job.folder / "empty.txt")}}))
    assert files(job.output) == {}


async def test_a_model_that_is_not_the_one_meant(job: JobMaker) -> None:
    steps = job.steps()
    steps[2]["infer"]["model"]["sha256"] = "0" * 64
    with pytest.raises(ModelError, match=r"steps.classify.infer.model.weights .* has the digest"):
        await plan(job(inline(1), steps=steps))
    job.weights.unlink()
    with pytest.raises(InvalidJobError, match=r"steps.classify.infer.model.weights: .*does not exist"):
        await plan(job(inline(1)))
    assert files(job.output) == {}


async def test_if_exists_fail(job: JobMaker) -> None:
    fail = {"ifExists": "fail"}
    assert (await plan(job(inline(1), output=fail))).total == 1
    with pytest.raises(OutputExistsError, match=r"holds _imagejob/.*ifExists is fail"):
        await plan(job(inline(1), output=fail))
    other = job.folder / "other"
    other.mkdir()
    (other / "notes.txt").write_text("")
    with pytest.raises(OutputExistsError, match=r"holds notes.txt"):
        await plan(job(inline(1), output={**fail, "url": str(other)}))
    assert (await plan(job(inline(1), output={"url": str(other)}))).total == 1


@pytest.mark.parametrize("name", ["results/part-00000-00000.jsonl", "_SUCCESS"])
async def test_results_without_a_plan_are_not_mixed_with_new_ones(job: JobMaker, name: str) -> None:
    await open_output(job.output).create(name, b"")
    with pytest.raises(OutputExistsError, match=f"holds {name} but no {PLAN_FILE}"):
        await plan(job(inline(1)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is damaged"),
        (b"[]", "is damaged"),
        (b'{"version": 2}', "is damaged"),
        (b"[" * 200_000, "is damaged .*100 deep"),
        (b'{"version": 99}', "has version 99"),
    ],
)
async def test_a_damaged_plan(job: JobMaker, content: bytes, message: str) -> None:
    await open_output(job.output).create(PLAN_FILE, content)
    with pytest.raises(StorageError, match=message):
        await plan(job(inline(1)))


async def test_no_plan(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="holds no plan"):
        await read_plan(open_output(str(tmp_path)))


async def test_the_plan_holds_no_passwords(job: JobMaker) -> None:
    await plan(job(inline(1), steps=job.steps(download={"headers": {"Authorization": "Bearer secret"}})))
    assert b"secret" not in (Path(job.output) / PLAN_FILE).read_bytes()


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("where", ["folder", "s3"])
async def test_racing_planners_end_with_one_plan(job: JobMaker, request: pytest.FixtureRequest, where: str, *, same: bool) -> None:
    url = job.output
    if where == "s3":
        server: S3Server = request.getfixturevalue("s3")
        url = server.url(f"plans/{uuid.uuid4().hex}")
    specs = [job(inline(10 if same else 10 + number), output={"url": url}) for number in range(4)]
    results = await asyncio.gather(*(plan(spec) for spec in specs), return_exceptions=True)
    output = open_output(url)
    stored = await read_plan(output)
    if same:
        assert all(isinstance(result, Plan) and result.fingerprint == stored.fingerprint for result in results)
    else:
        assert sum(isinstance(result, Plan) for result in results) == 1
        assert all(isinstance(result, Plan | FingerprintError) for result in results)
    entries = [entry for shard in range(stored.shards) async for chunk in shard_chunks(output, stored, shard) for entry in chunk.entries]
    assert len(entries) == stored.total


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: lines[:-1], "chunk 6 has 1 of 2 inputs"),
        (lambda lines: lines[:6], "the file ends after chunk 2"),
        (lambda lines: lines[:3] + lines[6:], "chunk 4 stands where 2 belongs"),
        (lambda lines: [*lines, lines[0]], "chunk 0 stands where"),
        (lambda lines: [lines[0][:-5], *lines[1:]], "line 1: no line of a manifest"),
    ],
)
async def test_a_damaged_manifest_is_never_worked_on(job: JobMaker, damage: Any, message: str) -> None:  # noqa: ANN401  a function
    made = await plan(job(inline(20)))
    path = Path(job.output) / made.manifest / "00000.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in damage(path.read_bytes().splitlines())))
    with pytest.raises(StorageError, match=message):
        _ = [chunk async for chunk in shard_chunks(open_output(job.output), made, 0)]


async def test_memory_stays_small(job: JobMaker) -> None:

    def manifest(count: int) -> dict[str, Any]:
        path = job.folder / f"{count}.jsonl"
        with path.open("w") as file:
            file.writelines(json.dumps({"id": f"id-{number}", "url": f"/data/{number}.jpg"}) + "\n" for number in range(count))
        return {"manifest": {"url": str(path)}}

    peaks = []
    for count in (1_000, 21_000):
        spec = job(manifest(count), output={"url": f"{job.output}-{count}"}, chunkSize=100)
        tracemalloc.start()
        made = await plan(spec)
        output = open_output(spec.output.url)
        assert sum([1 async for _ in shard_chunks(output, made, 0)]) == made.chunks // 2 + made.chunks % 2
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Eight bytes for each input, three times while they are sorted, and buffers; a list of the inputs would take ten times as much.
    assert peaks[1] - peaks[0] < 20_000 * 60 + 2_000_000

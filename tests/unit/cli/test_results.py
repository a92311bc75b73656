"""`imagejob show` and `imagejob verify` on outputs made by the runner's own functions."""

import asyncio
import json
from pathlib import Path

import pytest

from imagejob_api.imagejob import ImageJobSpec
from imagejob_cli import show
from imagejob_runner.audit import holds_name
from imagejob_runner.exceptions import ImageError, SkipImage
from imagejob_runner.item import ImageItem
from imagejob_runner.output import chunk_name, encode_rows, finalize
from imagejob_runner.planning import plan_job, shard_chunks
from imagejob_runner.rows import Row, row_of
from imagejob_runner.storage import open_output
from tests.unit.cli.builders import Imagejob, job

IDS = ["0", "1", "2", "3", "4"]


def row(identity: str, url: str) -> Row:
    item = ImageItem(id=identity, url=url)
    if identity == "1":
        return row_of(item, ImageError("NotFound", "no such file"))
    if identity == "3":
        return row_of(item, SkipImage("too dull"))
    item.outputs["classify"] = [{"label": f"label {identity}", "index": 7, "score": 0.5}]
    return row_of(item)


async def make(url: str, form: str, *, chunks: tuple[int, ...] = (0, 1, 2)) -> None:
    """An output of 5 inputs in 3 chunks and 2 shards: 1 fails, 3 is skipped. Only these chunks are committed."""
    source = {"urls": [{"id": identity, "url": f"/{identity}.jpg"} for identity in IDS]}
    document = job(source=source, output={"url": url, "format": form}, chunkSize=2, failurePolicy={"maxFailureRate": 1})
    spec = ImageJobSpec.model_validate(document["spec"])
    assert spec.pipeline is not None
    output = open_output(url)
    plan = await plan_job(spec, spec.pipeline, output, name="flowers", default_shards=2)
    for shard in range(plan.shards):
        async for chunk in shard_chunks(output, plan, shard):
            if chunk.index in chunks:
                rows = [row(entry.id, entry.url) for entry in chunk.entries]
                await output.create(chunk_name(plan, shard, chunk.index), encode_rows(rows, form))
    if len(chunks) == plan.chunks:
        await finalize(output, plan, spec.failure_policy, {})


@pytest.fixture(params=["jsonl", "parquet"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    asyncio.run(make(str(tmp_path / "out"), request.param))
    return tmp_path / "out"


@pytest.fixture
def half(tmp_path: Path) -> Path:
    asyncio.run(make(str(tmp_path / "half"), "jsonl", chunks=(0, 2)))
    return tmp_path / "half"


def words(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if "─" not in line]


def test_show_prints_rows_in_the_order_of_the_inputs(imagejob: Imagejob, output: Path) -> None:
    result = imagejob("show", output)
    assert result.exit_code == 0
    assert words(result.stdout)[:-1] == [
        "FILE LABEL SCORE STATUS ERROR",
        "0 label 0 0.50 ok",
        "1 failed NotFound: no such file",
        "2 label 2 0.50 ok",
        "3 skipped Skipped: too dull",
        "4 label 4 0.50 ok",
        "5 rows of 5 inputs.",
    ]
    assert words(result.stdout)[-1].startswith(f"Results: {output}/results/part-*.")


def test_show_of_a_part(imagejob: Imagejob, output: Path) -> None:
    assert words(imagejob("show", output, "--limit", "2").stdout)[-2] == "The first 2 rows of 5 inputs."
    assert words(imagejob("show", output, "--limit", "5").stdout)[-2] == "5 rows of 5 inputs."
    assert words(imagejob("show", output, "--limit", "0").stdout)[-2] == "5 rows of 5 inputs."


@pytest.mark.parametrize(("limit", "end"), [("2", "The first 2"), ("3", "The first 3"), ("4", "The first 4"), ("0", "5")])
def test_show_of_many_rows_prints_each_as_it_is_read(
    imagejob: Imagejob, output: Path, monkeypatch: pytest.MonkeyPatch, limit: str, end: str
) -> None:
    monkeypatch.setattr(show, "LONG_TABLE", 3)
    lines = words(imagejob("show", output, "--limit", limit).stdout)
    assert lines[0] == "FILE LABEL SCORE STATUS ERROR"
    assert (
        lines[1:-2]
        == [
            "0 label 0 0.50 ok",
            "1 failed NotFound: no such file",
            "2 label 2 0.50 ok",
            "3 skipped Skipped: too dull",
            "4 label 4 0.50 ok",
        ][: int(limit) or None]
    )
    assert lines[-2] == f"{end} rows of 5 inputs."


def test_show_of_one_status(imagejob: Imagejob, output: Path) -> None:
    lines = words(imagejob("show", output, "--status", "failed").stdout)
    assert lines[:3] == ["FILE STATUS ERROR", "1 failed NotFound: no such file", "1 failed row of 5 inputs."]


def test_show_as_json(imagejob: Imagejob, output: Path) -> None:
    rows = [json.loads(line) for line in imagejob("show", output, "--json").stdout.splitlines()]
    assert [each["id"] for each in rows] == IDS
    assert rows[0]["outputs"]["classify"][0]["label"] == "label 0"
    assert len(imagejob("show", output, "--json", "--limit", "3").stdout.splitlines()) == 3


def test_show_of_a_job_at_work(imagejob: Imagejob, half: Path) -> None:
    lines = words(imagejob("show", half).stdout)
    assert "3 rows of 5 inputs." in lines
    assert "2 of 3 chunks are there: run the job again to go on." in lines


@pytest.mark.parametrize("command", ["show", "verify"])
def test_an_output_without_a_job(imagejob: Imagejob, tmp_path: Path, command: str) -> None:
    result = imagejob(command, tmp_path)
    assert result.exit_code == 3
    assert result.stderr == f"Error: {tmp_path} holds no plan (_imagejob/plan.json); check the URL: imagejob run makes the plan\n"


@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_url_that_is_no_output(imagejob: Imagejob, command: str) -> None:
    result = imagejob(command, "ftp://example.com/x")
    assert result.exit_code == 2
    assert "ftp" in result.stderr


def test_verify_proves(imagejob: Imagejob, output: Path) -> None:
    result = imagejob("verify", output)
    assert result.exit_code == 0
    assert result.stdout == (
        f"{output}: proved\n"
        "  images    5 inputs, each with exactly one row: 3 succeeded, 1 failed, 1 skipped\n"
        "  slots     no slot was held\n"
    )


def test_verify_counts_holds(imagejob: Imagejob, output: Path) -> None:
    _add_holds(output, (1.0, 2.0), (2.0, 3.0))
    assert "  slots     2 holds of 1 slot, no two of one slot overlap\n" in imagejob("verify", output).stdout


def test_verify_finds_what_is_missing(imagejob: Imagejob, half: Path) -> None:
    result = imagejob("verify", half)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == f"{half}: not proved, 1 problem"
    assert lines[1] == "  images    5 inputs; rows: 2 succeeded, 1 failed, 0 skipped"
    assert lines[3] == "  problem   results/part-00001-00001.jsonl: missing: 2 inputs have no row; run the same job again to go on"


def test_verify_finds_overlaps(imagejob: Imagejob, output: Path) -> None:
    _add_holds(output, (1.0, 2.0), (1.5, 3.0))
    result = imagejob("verify", output)
    assert result.exit_code == 1
    assert "  slots     2 holds of 1 slot, 1 pair of them overlap\n" in result.stdout


def test_verify_as_json(imagejob: Imagejob, half: Path) -> None:
    result = imagejob("verify", half, "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert answer | {"problems": []} == {
        "ok": False,
        "output": str(half),
        "images": {"total": 5, "succeeded": 2, "failed": 1, "skipped": 0},
        "holds": {"records": 0, "slots": 0, "overlaps": 0},
        "problemCount": 1,
        "problems": [],
    }
    assert answer["problems"][0].keys() == {"file", "line", "message", "fix"}


def _add_holds(output: Path, *spans: tuple[float, float]) -> None:
    record = {"node": "n", "boot": "b", "limit": "gpu", "slot": 0, "asked": 0.5, "busy": 0.1, "waited": False}
    lines = [
        json.dumps({**record, "fence": fence, "id": f"p/{fence}", "start": start, "end": end})
        for fence, (start, end) in enumerate(spans, 1)
    ]
    data = "".join(f"{line}\n" for line in lines).encode()
    path = output / holds_name(0, "test", 1, data)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)

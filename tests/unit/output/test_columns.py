"""Typed Parquet: each output in a column of its kind, what does not fit beside the columns, and every row as it was."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagejob_api.imagejob import ImageJobSpec
from imagejob_runner.exceptions import ImageError, StorageError
from imagejob_runner.item import ImageItem
from imagejob_runner.output import OutputKind, chunk_name, columns, decode_rows, encode_rows, output_kinds, parquet, read_rows
from imagejob_runner.output.codec import skim_rows
from imagejob_runner.pipeline.engine import EngineSettings
from imagejob_runner.planning import PlannedModel, plan_job, read_plan
from imagejob_runner.planning.plan import encode_plan
from imagejob_runner.rows import Row, row_of
from imagejob_runner.sealed import sealed_file
from imagejob_runner.shard import ShardRequest, ShardRun
from imagejob_runner.storage import open_output
from tests.unit.output.test_codec import _JSON, _TEXT
from tests.unit.pipeline.levers import step

KINDS = {
    "classify": OutputKind.CLASSES,
    "embed": OutputKind.EMBEDDING,
    "raw": OutputKind.TENSOR,
    "save": OutputKind.IMAGE,
    "call": OutputKind.JSON,
}
# Few digits, so that float32 gives them back.
_NUMBER = st.integers(-9999, 9999).map(lambda number: number / 1000)
_CLASS = st.fixed_dictionaries({"label": _TEXT, "index": st.integers(0, 999), "score": st.floats(allow_nan=False, allow_infinity=False)})
_SHAPE = st.lists(st.integers(0, 3), min_size=1, max_size=3)


@st.composite
def tensors(draw: st.DrawFn) -> dict[str, Any]:
    shape = draw(_SHAPE)
    size = math.prod(shape)
    dtype, values = draw(
        st.sampled_from(
            [("float32", _NUMBER), ("int64", st.integers(-(2**53), 2**53)), ("uint8", st.integers(0, 255)), ("bool", st.booleans())]
        )
    )
    data = np.array(draw(st.lists(values, min_size=size, max_size=size))).reshape(shape).tolist()
    return {"shape": shape, "dtype": dtype, "data": data}


@st.composite
def rows(draw: st.DrawFn) -> Row:
    fitting = {
        "classify": st.lists(_CLASS, max_size=3),
        "embed": st.lists(_NUMBER, max_size=4),
        "raw": tensors(),
        "save": st.fixed_dictionaries({"image": _TEXT, "sha256": _TEXT, "bytes": st.integers(0, 2**63 - 1)}),
        "call": _JSON,
        "elsewhere": _JSON,
    }
    item = ImageItem(id=draw(_TEXT.filter(bool)), url=draw(_TEXT))
    item.outputs = draw(st.fixed_dictionaries({}, optional={name: values | _JSON for name, values in fitting.items()}))
    known = {"node": _TEXT, "inputBytes": st.integers(-(2**70), 2**70), "draft": st.booleans(), "decodedBy": _TEXT, "else": _JSON}
    item.provenance = draw(st.fixed_dictionaries({}, optional={name: values | _JSON for name, values in known.items()}))
    item.timings = draw(st.dictionaries(_TEXT, st.floats(0, 1000), max_size=2))
    return row_of(item, draw(st.none() | st.builds(ImageError, _TEXT, _TEXT)))


@settings(max_examples=60, deadline=None)
@given(data=st.lists(rows(), max_size=5))
def test_every_row_comes_back_whatever_fits(data: list[Row]) -> None:
    encoded = encode_rows(data, "parquet", KINDS)
    assert decode_rows(encoded, "parquet") == data
    skimmed = skim_rows(encoded, "parquet")
    assert skimmed.statuses == Counter(row["status"] for row in data)
    assert skimmed.failed == [row for row in data if row["status"] == "failed"]


def of(outputs: dict[str, Any], **provenance: Any) -> Row:  # noqa: ANN401  of any kind
    return row_of(ImageItem(id="a", url="b", outputs=outputs, provenance=provenance, timings={"download": 0.25}))


TYPICAL = of(
    {
        "classify": [{"label": "cat", "index": 3, "score": 0.9}],
        "embed": [0.5, -0.1234567],
        "raw": {"shape": [1, 2], "dtype": "float16", "data": [[1.5, 2.25]]},
        "save": {"image": "images/a.png", "sha256": "0", "bytes": 9},
        "call": {"any": ["thing", None]},
    },
    node="gpu-7",
    inputBytes=7,
    draft=True,
)


def test_columns_have_types_that_other_programs_read(tmp_path: Path) -> None:
    failed = row_of(ImageItem(id="c", url="d"), ImageError("NotFound", "gone"))
    for number, part in enumerate([[TYPICAL, failed], [failed], []]):
        (tmp_path / f"{number}.parquet").write_bytes(encode_rows(part, "parquet", KINDS))
    table = ds.dataset(tmp_path).to_table()
    assert {pq.read_schema(path).remove_metadata() for path in tmp_path.iterdir()} == {table.schema.remove_metadata()}, "one schema"
    outputs = table.schema.field("outputs").type
    assert outputs.field("embed").type == pa.list_(pa.float32())
    assert outputs.field("classify").type.value_type == pa.struct([("label", pa.string()), ("index", pa.int64()), ("score", pa.float64())])
    row, other, _ = table.to_pylist()
    assert row["outputs"]["classify"] == TYPICAL["outputs"]["classify"]
    assert row["outputs"]["embed"] == pytest.approx([0.5, -0.1234567], rel=1e-7)
    assert row["outputs"]["raw"] == {"shape": [1, 2], "dtype": "float16", "data": [1.5, 2.25]}
    assert json.loads(row["outputs"]["call"]) == TYPICAL["outputs"]["call"]
    assert (row["provenance"]["node"], row["provenance"]["inputBytes"], row["provenance"]["draft"]) == ("gpu-7", 7, True)
    assert (dict(row["timings"]), row["more"]) == ({"download": 0.25}, None)
    assert other["outputs"] == dict.fromkeys(KINDS)
    assert other["error"]["code"] == "NotFound"


@pytest.mark.parametrize(
    ("outputs", "provenance"),
    [
        ({"classify": [{"label": "cat", "index": 3, "score": 1}]}, {}),
        ({"classify": [{"label": "cat", "index": 3, "score": 0.5, "more": 1}]}, {}),
        ({"classify": None, "elsewhere": {"x": [1]}}, {}),
        ({"embed": [1, 2]}, {}),
        ({"embed": [0.5, "x"]}, {}),
        ({"embed": [1e300]}, {}),
        ({"raw": {"shape": [2], "dtype": "int64", "data": [2**24 + 1, 0]}}, {}),
        ({"raw": {"shape": [3], "dtype": "float32", "data": [0.5]}}, {}),
        ({"raw": {"shape": [2], "dtype": "float32", "data": [[0.5], []]}}, {}),
        ({"save": {"image": "x", "sha256": "y", "bytes": -(2**70)}}, {}),
        ({}, {"inputBytes": True, "modelSha256": None, "unheard": {"of": 1}}),
    ],
)
def test_what_does_not_fit_stands_beside_the_columns(outputs: dict[str, Any], provenance: dict[str, Any]) -> None:
    row = of(outputs, **provenance)
    data = encode_rows([TYPICAL, row], "parquet", KINDS)
    assert decode_rows(data, "parquet") == [TYPICAL, row]
    said = pq.read_table(pa.BufferReader(data)).to_pylist()[1]
    assert json.loads(said["more"]) == {name: what for name, what in (("outputs", outputs), ("provenance", provenance)) if what}


@pytest.mark.parametrize("largest", [1.0, 0.0023, 7.9, 4e6, 0.00099])
def test_the_digits_that_inference_writes_come_back(largest: float) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, size=(20, 512))
    vectors = (largest * noise / np.abs(noise).max(axis=1, keepdims=True)).astype(np.float32)
    data = [of({"embed": columns._digits(vector).tolist()}) for vector in vectors]
    found = decode_rows(encode_rows(data, "parquet", KINDS), "parquet")
    assert found == data


def test_a_nan_that_a_defective_writer_has_put_into_a_column_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("classify", [{"label": "x", "index": 1, "score": float("nan")}]), ("embed", [float("inf")])):
        monkeypatch.setattr(columns, "_is_class", lambda _: True)
        monkeypatch.setattr(columns, "_LARGEST_FLOAT32", float("inf"))
        data = encode_rows([of({name: value})], "parquet", KINDS)
        monkeypatch.undo()
        with pytest.raises(StorageError, match="a number is missing, or not finite"):
            decode_rows(data, "parquet")
        with pytest.raises(ValueError, match="JSON compliant"):
            encode_rows([of({name: value})], "parquet", KINDS)


@pytest.mark.parametrize(
    "change", [lambda schema: schema.remove(schema.get_field_index("more")), lambda schema: schema.append(pa.field("x", pa.int8()))]
)
def test_a_part_with_other_columns_is_refused(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:  # noqa: ANN401  a function
    typed = pq.read_table(pa.BufferReader(encode_rows([TYPICAL], "parquet", KINDS)))
    schema = change(typed.schema.remove_metadata())
    table = pa.Table.from_pylist(typed.to_pylist(), schema=schema)
    monkeypatch.setattr(parquet, "SCHEMA", schema)
    monkeypatch.setattr(parquet, "_table_of_texts", lambda _: table)
    data = encode_rows([TYPICAL], "parquet")
    monkeypatch.undo()
    with pytest.raises(StorageError, match="its columns are id"):
        decode_rows(data, "parquet")


def test_which_outputs_a_pipeline_has() -> None:
    model = {"architecture": "a:b"}
    steps = [
        {"name": "download", "download": {}},
        {"name": "classify", "infer": {"model": model}},
        {"name": "embed", "infer": {"model": model, "outputs": {"embedding": "l2"}}},
        {"name": "raw", "infer": {"model": model, "outputs": {"tensor": True}}},
        {"name": "call", "call": {"function": "a:b"}},
        {"name": "save", "save": {"image": {}}},
    ]
    spec = ImageJobSpec.model_validate({"source": {"urls": [{"url": "/a"}]}, "pipeline": {"steps": steps}, "output": {"url": "/out"}})
    assert spec.pipeline is not None
    assert output_kinds(spec.pipeline) == {name: KINDS[name] for name in ("classify", "embed", "raw", "call", "save")}


@pytest.mark.parametrize("older", [False, True])
async def test_an_output_that_an_older_version_has_planned_keeps_its_columns(tmp_path: Path, *, older: bool) -> None:
    async def work(item: ImageItem) -> dict[str, str]:
        return {"of": item.id}

    fields = {"output": {"url": str(tmp_path / "out"), "format": "parquet"}, "chunkSize": 2}
    source = {"urls": [{"id": str(number), "url": f"/{number}.jpg"} for number in range(4)]}
    spec = ImageJobSpec.model_validate({"source": source, "pipeline": {"steps": [step("work", work)]}, **fields})
    assert spec.pipeline is not None
    output = open_output(spec.output.url)
    made = await plan_job(spec, spec.pipeline, output, name="job", default_shards=1)
    assert made.typed
    if older:
        text = encode_plan(made).decode()
        record = {name: value for name, value in json.loads(text).items() if name not in ("typed", "digest")}
        await output.replace("_imagejob/plan.json", sealed_file(record))
    models: dict[str, PlannedModel] = {}
    request = ShardRequest(spec.output.url, (0,), spec.pipeline, models, retry_failed=False, run_id="run", settings=EngineSettings(cpus=1))
    await ShardRun(request, None).run()
    plan = await read_plan(output)
    schema = pq.read_schema(tmp_path / "out" / chunk_name(plan, 0, 1))
    assert schema.field("outputs").type == (pa.string() if older else pa.struct([("work", pa.string())]))
    assert [row["outputs"] for row in await read_rows(output, plan, 0, 1)] == [{"work": {"of": "2"}}, {"work": {"of": "3"}}]

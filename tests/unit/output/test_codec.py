"""Rows survive their bytes, and bytes that are no rows are refused with the line."""

import json
from collections import Counter
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError, SkipImage, StorageError
from imagejob_runner.item import ImageItem
from imagejob_runner.output import check_json, codec, decode_rows, encode_rows
from imagejob_runner.rows import Row, row_of

FORMATS = ["jsonl", "parquet"]
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)
_ERRORS = st.none() | st.builds(ImageError, _TEXT, _TEXT, retryable=st.booleans()) | st.builds(SkipImage, _TEXT)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    item = ImageItem(id=draw(_TEXT.filter(bool)), url=draw(_TEXT))
    item.outputs = draw(st.dictionaries(_TEXT, _JSON, max_size=3))
    item.provenance = draw(st.dictionaries(_TEXT, _JSON, max_size=2))
    item.timings = draw(st.dictionaries(_TEXT, st.floats(0, 1000), max_size=2))
    return row_of(item, draw(_ERRORS), attempts=draw(st.integers(1, 20)))


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=60, deadline=None)
@given(data=st.lists(rows(), max_size=5))
def test_round_trip(form: str, data: list[Row]) -> None:
    encoded = encode_rows(data, form)
    assert decode_rows(encoded, form) == data
    skimmed = codec.skim_rows(encoded, form)
    assert skimmed.statuses == Counter(row["status"] for row in data)
    assert skimmed.failed == [row for row in data if row["status"] == "failed"]
    if form == "jsonl":
        assert encoded.count(b"\n") == len(data)
        lines = [json.loads(line) for line in encoded.decode().split("\n")[:-1]]
        assert [{key: value for key, value in line.items() if key != "digest"} for line in lines] == data
        # In the words of the standard library, as older versions wrote them.
        assert decode_rows(b"".join(map(codec.encode_row, data)), form) == data


@given(_JSON)
def test_json_values_pass(value: Any) -> None:  # noqa: ANN401  any JSON value
    check_json(value, "outputs")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, {"b": float("nan")}]}, r"outputs.x.a\[1\].b is nan"),
        (float("inf"), "outputs.x is inf"),
        ({1: 2}, "outputs.x has the key 1"),
        ({"\ud800": 2}, "a key of outputs.x holds half of a surrogate"),
        (["\udcff"], r"outputs.x\[0\] holds half of a surrogate"),
        (b"bytes", "outputs.x is a bytes"),
        ({"a": {1, 2}}, "outputs.x.a is a set"),
    ],
)
def test_what_is_no_json(value: object, message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        check_json(value, "outputs.x")
    assert caught.value.code == ErrorCode.INVALID_OUTPUT


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("innermost", [[], "x"])
def test_what_is_nested_as_deep_as_it_may_be_can_be_read_again(form: str, innermost: object) -> None:
    value = innermost
    for _ in range(98 if innermost == "x" else 97):
        value = [value]
    outputs = {"x": value}
    check_json(outputs, "outputs")
    row = row_of(ImageItem(id="a", url="b", outputs=outputs))
    assert decode_rows(encode_rows([row], form), form) == [row]
    with pytest.raises(ImageError, match="nested more than 100 deep"):
        check_json({"x": [value]}, "outputs")


@pytest.mark.parametrize("form", FORMATS)
def test_nan_never_reaches_a_part(form: str) -> None:
    for outputs in ({"x": float("nan")}, {"x": None, "y": [-float("inf")]}):
        for error in (None, SkipImage("no")):
            with pytest.raises(ValueError, match="JSON compliant"):
                encode_rows([row_of(ImageItem(id="null", url="b", outputs=outputs), error)], form)


@pytest.mark.parametrize("form", FORMATS)
def test_a_message_of_the_system_with_raw_bytes_is_written_all_the_same(form: str) -> None:
    row = row_of(ImageItem(id="a", url="b"), ImageError("NotFound", "no such file: bad\udcff.jpg"))
    assert decode_rows(encode_rows([row], form), form)[0]["error"]["message"] == "no such file: bad?.jpg"


GOOD = encode_rows([row_of(ImageItem(id="a", url="b")), row_of(ImageItem(id="c", url="d"), SkipImage("no"))], "jsonl")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (GOOD[:-1], "part, line 2: the line does not end"),
        (GOOD[:-30], "part, line 2: the line does not end"),
        (GOOD + b"\n", "part, line 3: not valid JSON"),
        (b"\0" * 50 + b"\n" + GOOD, "part, line 1: not valid JSON"),
        (GOOD + b"\xff\xfe\n", "part, line 3: not valid JSON"),
        (GOOD + b'{"id": "x"}\n', "part, line 3: no row"),
        (GOOD + b"[]\n", "part, line 3: no row"),
        (GOOD.replace(b'"ok"', b'"fine"'), "part, line 1: no row; id and url are texts and status is one of"),
        (GOOD.replace(b'"ok"', b'"failed"'), "part, line 1: the row of 'a' is failed but its error says otherwise"),
        (GOOD.replace(b'"skipped"', b'"ok"'), "part, line 2: the row of 'c' is ok but its error says otherwise"),
    ],
)
def test_bytes_that_are_no_rows(data: bytes, message: str) -> None:
    with pytest.raises(StorageError, match=message):
        decode_rows(data, "jsonl", "part")
    with pytest.raises(StorageError, match=r"part, line \d: "):
        codec.skim_rows(data, "jsonl", "part")


def test_parquet_that_is_no_parquet_or_of_another_schema(tmp_path: Any) -> None:  # noqa: ANN401  a path
    good = encode_rows([row_of(ImageItem(id="a", url="b"))], "parquet")
    for data in (b"", good[:-1], good[10:], b"PAR1" + bytes(20) + b"PAR1"):
        with pytest.raises(StorageError, match="part: not a readable Parquet file"):
            decode_rows(data, "parquet", "part")
    path = tmp_path / "x.parquet"
    path.write_bytes(good)
    assert pq.read_table(path).column_names == ["id", "url", "status", "outputs", "error", "provenance", "timings"]


def test_an_id_that_reads_like_a_status_is_none() -> None:
    for identity in ('","status":"ok","', '\\","status":"ok', '"'):
        row = row_of(ImageItem(id=identity, url=identity, outputs={"x": {"status": "ok"}}), ImageError("NotFound", "gone"))
        assert codec.skim_rows(encode_rows([row], "jsonl"), "jsonl") == (Counter(failed=1), [row])


def test_characters_that_look_like_line_ends_stay_in_their_line() -> None:
    row = row_of(ImageItem(id="a\u2028b\u0085c\r\n", url="x"))
    assert decode_rows(encode_rows([row, row], "jsonl"), "jsonl") == [row, row]

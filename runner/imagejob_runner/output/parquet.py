"""Rows as Parquet: typed columns, and JSON text for what has no type.

The schema follows from the pipeline, so the parts of a job can be read together. A digest of all bytes but its own digits stands in the
file's metadata; it is compared before the file is parsed. An output that an older version has planned has JSON text in place of most
types, and keeps it.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imagejob_runner.exceptions import StorageError
from imagejob_runner.jsontext import exact
from imagejob_runner.output.codec import STATUSES, Skimmed, checked_row
from imagejob_runner.output.columns import COLUMNS, COUNT, TEXT, TRUTH, Column, Json, Seconds, column_of
from imagejob_runner.output.kinds import OutputKinds
from imagejob_runner.rows import Row
from imagejob_runner.sealed import short_digest, strict_json

_DIGEST: Final = re.compile(rb"imagejob digest ([0-9a-f]{16})")
_NO_DIGEST: Final = "0" * 16
_GROUP_ROWS: Final = 8192
"""Rows that are turned into columns at once."""
_TEXT_COLUMNS: Final = ("outputs", "provenance", "timings")
_BEGIN: Final = [pa.field(name, pa.string(), nullable=False) for name in ("id", "url", "status")]
_ERROR: Final = pa.field(
    "error", pa.struct([("code", pa.string()), ("message", pa.string()), ("attempts", pa.int32()), ("retryable", pa.bool_())])
)
_PROVENANCE: Final[dict[str, Column]] = {
    "node": TEXT,
    "inputSha256": TEXT,
    "inputBytes": COUNT,
    "format": TEXT,
    "width": COUNT,
    "height": COUNT,
    "draft": TRUTH,
    "decodedBy": TEXT,
    "modelSha256": TEXT,
    "preprocess": TEXT,
}
_SECONDS: Final = Seconds()
_MORE: Final = Json()
SCHEMA: Final = pa.schema(
    [
        *_BEGIN,
        pa.field("outputs", pa.string(), nullable=False),
        _ERROR,
        pa.field("provenance", pa.string(), nullable=False),
        pa.field("timings", pa.string(), nullable=False),
    ]
)
"""Of plans of older versions."""


def schema_of(outputs: dict[str, Column]) -> pa.Schema:
    """The schema of a job's parts.

    Args:
        outputs: The outputs that have a column, by step.
    """
    return pa.schema(
        [
            *_BEGIN,
            *([pa.field("outputs", _struct(outputs), nullable=False)] if outputs else []),
            _ERROR,
            pa.field("provenance", _struct(_PROVENANCE), nullable=False),
            pa.field("timings", _SECONDS.type, nullable=False),
            pa.field("more", _MORE.type),
        ]
    )


def encode_parquet(rows: Sequence[Row], kinds: OutputKinds | None) -> bytes:
    """Rows as one Parquet file, compressed with zstd.

    Args:
        rows: The rows.
        kinds: The outputs that have a column; None for columns of JSON text.

    Raises:
        ValueError: A row holds what JSON cannot hold.
    """
    outputs = None if kinds is None else {step: COLUMNS[kind] for step, kind in kinds.items()}
    schema = SCHEMA if outputs is None else schema_of(outputs)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression="zstd", write_page_checksum=True) as writer:
        left = iter(rows)
        while group := list(islice(left, _GROUP_ROWS)):
            writer.write_table(_table_of_texts(group) if outputs is None else _table(group, outputs, schema))
        writer.add_key_value_metadata({"digest": f"imagejob digest {_NO_DIGEST}"})
    data = sink.getvalue().to_pybytes()
    place = _digest_place(data)
    return b"".join((data[: place.start], short_digest(data).encode(), data[place.stop :]))


def decode_parquet(data: bytes, where: str) -> list[Row]:
    """The rows of a Parquet file.

    Raises:
        StorageError: It is none, has another schema, or is not as it was written.
    """
    try:
        _check_digest(data)
        rows = list(_rows(data))
    except (pa.ArrowException, ValueError, TypeError, OSError) as error:
        raise StorageError(f"{where}: not a readable Parquet file of rows ({error}); the file is damaged") from None
    return [checked_row(row, f"{where}, row {number}") for number, row in enumerate(rows, 1)]


def skim_parquet(data: bytes, where: str) -> Skimmed:
    """How the rows of a Parquet file ended; as `decode_parquet` otherwise."""
    statuses: Counter[str] = Counter()
    try:
        _check_digest(data)
        failed = [checked_row(row, where) for row in _rows(data, statuses)]
    except (pa.ArrowException, ValueError, TypeError, OSError) as error:
        raise StorageError(f"{where}: not a readable Parquet file of rows ({error}); the file is damaged") from None
    if not statuses.keys() <= set(STATUSES):
        raise StorageError(f"{where}: no row; status is one of {', '.join(STATUSES)}")
    return Skimmed(statuses, failed)


def _table_of_texts(rows: Sequence[Row]) -> pa.Table:
    records = [{**row, "error": _clean(row["error"]), **{name: exact(row[name]) for name in _TEXT_COLUMNS}} for row in rows]
    return pa.Table.from_pylist(records, schema=SCHEMA)


def _table(rows: Sequence[Row], outputs: dict[str, Column], schema: pa.Schema) -> pa.Table:
    more: list[dict[str, Any]] = [{} for _ in rows]
    columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in ("id", "url", "status")}
    if outputs:
        columns["outputs"] = _columns([row["outputs"] for row in rows], "outputs", outputs, more)
    else:
        for row, rest in zip(rows, more, strict=True):
            if row["outputs"]:
                rest["outputs"] = row["outputs"]
    columns["error"] = pa.array([_clean(row["error"]) for row in rows], _ERROR.type)
    columns["provenance"] = _columns([row["provenance"] for row in rows], "provenance", _PROVENANCE, more)
    taken = [_SECONDS.taken(row["timings"]) for row in rows]
    for row, seconds, rest in zip(rows, taken, more, strict=True):
        if seconds is None:
            rest["timings"] = row["timings"]
    columns["timings"] = _SECONDS.array([seconds or [] for seconds in taken])
    columns["more"] = _MORE.array([_MORE.taken(rest) if rest else None for rest in more])
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _columns(objects: Sequence[dict[str, Any]], name: str, columns: dict[str, Column], more: Sequence[dict[str, Any]]) -> pa.Array:
    """A struct of columns for some of the keys of objects; the rest, and what does not fit, goes into `more`."""
    arrays = []
    for key, column in columns.items():
        taken = [column.taken(each[key]) if key in each else None for each in objects]
        arrays.append(column.array(taken))
        for each, value, rest in zip(objects, taken, more, strict=True):
            if value is None and key in each:
                rest.setdefault(name, {})[key] = each[key]
    known = columns.keys()
    for each, rest in zip(objects, more, strict=True):
        if not each.keys() <= known:
            rest.setdefault(name, {}).update({key: value for key, value in each.items() if key not in known})
    return pa.StructArray.from_arrays(arrays, fields=list(_struct(columns)))


def _struct(columns: dict[str, Column]) -> pa.DataType:
    return pa.struct([pa.field(name, column.type) for name, column in columns.items()])


def _rows(data: bytes, statuses: Counter[str] | None = None) -> Iterator[Row]:
    """The rows of a file; or its failed ones, while all are counted by status."""
    with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
        schema = file.schema_arrow
        older = schema.equals(SCHEMA)
        outputs = {} if older else _outputs_of(schema)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            table.validate(full=True)
            if statuses is not None:
                statuses.update(table["status"].to_pylist())
                table = table.filter(pc.equal(table["status"], "failed"))
            if older:
                for record in table.to_pylist():
                    yield {**record, **{name: strict_json(record[name].encode()) for name in _TEXT_COLUMNS}}
            else:
                yield from _typed_rows(table.combine_chunks(), outputs)


def _outputs_of(schema: pa.Schema) -> dict[str, Column]:
    """The outputs that have a column in a file."""
    try:
        outputs = {field.name: column_of(field.type) for field in schema.field("outputs").type} if "outputs" in schema.names else {}
        if schema.equals(schema_of(outputs)):
            return outputs
    except (ValueError, TypeError):  # TypeError: no struct
        pass
    raise ValueError(f"its columns are {', '.join(f'{field.name} ({field.type})' for field in schema)}")


def _typed_rows(table: pa.Table, outputs: dict[str, Column]) -> Iterator[Row]:
    count = table.num_rows

    def column(name: str) -> pa.Array:
        return table.column(name).chunk(0)

    if not count:
        return
    found = _objects(column("outputs"), outputs) if outputs else [{} for _ in range(count)]
    provenance = _objects(column("provenance"), _PROVENANCE)
    texts = [column(name).to_pylist() for name in ("id", "url", "status")]
    rest = (found, column("error").to_pylist(), provenance, _SECONDS.values(column("timings")), _MORE.values(column("more")))
    for identity, url, status, output, error, made, timings, more in zip(*texts, *rest, strict=True):
        row = {"id": identity, "url": url, "status": status, "outputs": output, "error": error, "provenance": made, "timings": timings}
        for name, values in (more or {}).items():
            row[name].update(values)
        yield row


def _objects(array: pa.Array, columns: dict[str, Column]) -> list[dict[str, Any]]:
    """The objects that a struct of columns stands for."""
    found: list[dict[str, Any]] = [{} for _ in range(len(array))]
    for (key, column), part in zip(columns.items(), array.flatten(), strict=True):
        for each, value in zip(found, column.values(part), strict=True):
            if value is not None:
                each[key] = value
    return found


def _check_digest(data: bytes) -> None:
    place = _digest_place(data)
    said, found = data[place.start : place.stop], short_digest(b"".join((data[: place.start], _NO_DIGEST.encode(), data[place.stop :])))
    if said.decode() != found:
        raise ValueError(f"its digest says {said.decode()}, but its bytes have {found}: they are not those that were written")


def _digest_place(data: bytes) -> slice:
    """Where the digest's digits stand: in the last of the places that look like it, for rows may hold any text."""
    *_, match = (None, *_DIGEST.finditer(data))
    if match is None:
        raise ValueError("it has no digest")
    return slice(*match.span(1))


def _clean(error: dict[str, object] | None) -> object:
    """An error whose message Arrow takes: an operating system's text may hold bytes that are no Unicode."""
    return None if error is None else json.loads(exact(error))

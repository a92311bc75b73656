"""Rows as Parquet: plain columns for what people filter by, JSON text for what differs from pipeline to pipeline.

A fixed schema means that the parts of any job, and of any two jobs, can be read together.
"""

import json
from collections.abc import Sequence
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from imagejob_runner.exceptions import StorageError
from imagejob_runner.output.codec import checked_row, dump
from imagejob_runner.rows import Row

_JSON_COLUMNS: Final = ("outputs", "provenance", "timings")
SCHEMA: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("outputs", pa.string(), nullable=False),
        pa.field(
            "error",
            pa.struct([("code", pa.string()), ("message", pa.string()), ("attempts", pa.int32()), ("retryable", pa.bool_())]),
        ),
        pa.field("provenance", pa.string(), nullable=False),
        pa.field("timings", pa.string(), nullable=False),
    ]
)


def encode_parquet(rows: Sequence[Row]) -> bytes:
    """Rows as one Parquet file, compressed with zstd."""
    records = [{**row, "error": _clean(row["error"]), **{name: dump(row[name]) for name in _JSON_COLUMNS}} for row in rows]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(records, schema=SCHEMA), sink, compression="zstd")
    return bytes(sink.getvalue())


def decode_parquet(data: bytes, where: str) -> list[Row]:
    """The rows of a Parquet file.

    Raises:
        StorageError: It is none, or has another schema.
    """
    try:
        records = pq.read_table(pa.BufferReader(data), schema=SCHEMA).to_pylist()
        rows = [{**record, **{name: json.loads(record[name]) for name in _JSON_COLUMNS}} for record in records]
    except (pa.ArrowException, ValueError, OSError) as error:
        raise StorageError(f"{where}: not a readable Parquet file of rows ({error}); the file is damaged") from None
    return [checked_row(row, f"{where}, row {number}") for number, row in enumerate(rows, 1)]


def _clean(error: dict[str, object] | None) -> object:
    """An error whose message Arrow takes: an operating system's text may hold bytes that are no Unicode."""
    return None if error is None else json.loads(dump(error))

"""Rows as Parquet: plain columns for what people filter by, JSON text for what differs from pipeline to pipeline.

A fixed schema means that the parts of any job, and of any two jobs, can be read together. A digest of all bytes but its own digits stands
in the file's metadata; it is compared before the file is parsed.
"""

import json
import re
from collections.abc import Sequence
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from imagejob_runner.exceptions import StorageError
from imagejob_runner.jsontext import exact
from imagejob_runner.output.codec import checked_row
from imagejob_runner.rows import Row
from imagejob_runner.sealed import short_digest, strict_json

_DIGEST: Final = re.compile(rb"imagejob digest ([0-9a-f]{16})")
_NO_DIGEST: Final = "0" * 16
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
    records = [{**row, "error": _clean(row["error"]), **{name: exact(row[name]) for name in _JSON_COLUMNS}} for row in rows]
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd", write_page_checksum=True) as writer:
        writer.write_table(pa.Table.from_pylist(records, schema=SCHEMA))
        writer.add_key_value_metadata({"digest": f"imagejob digest {_NO_DIGEST}"})
    data = bytes(sink.getvalue())
    place = _digest_place(data)
    return b"".join((data[: place.start], short_digest(data).encode(), data[place.stop :]))


def decode_parquet(data: bytes, where: str) -> list[Row]:
    """The rows of a Parquet file.

    Raises:
        StorageError: It is none, has another schema, or is not as it was written.
    """
    try:
        _check_digest(data)
        table = _table(data)
        rows = [{**record, **{name: strict_json(record[name]) for name in _JSON_COLUMNS}} for record in table.to_pylist()]
    except (pa.ArrowException, ValueError, OSError) as error:
        raise StorageError(f"{where}: not a readable Parquet file of rows ({error}); the file is damaged") from None
    return [checked_row(row, f"{where}, row {number}") for number, row in enumerate(rows, 1)]


def _table(data: bytes) -> pa.Table:
    with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
        if not file.schema_arrow.equals(SCHEMA):
            raise ValueError(f"its columns are {', '.join(map(str, file.schema_arrow))}")
        table = file.read()
    table.validate(full=True)
    return table


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

"""Inputs from a file that lists them: one URL a line, or rows with an id and a URL.

A list is read from a local file, so one on a store or a web server is copied to a temporary file first; memory stays the same for ten
inputs and for ten million. Whatever is wrong is told with the number of the row.
"""

import csv
import difflib
import json
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit

from imagejob_api.imagejob import Manifest
from imagejob_api.pipeline import Download
from imagejob_api.redaction import kept_url, shown_url
from imagejob_runner.exceptions import InvalidJobError, InvalidSourceError
from imagejob_runner.fetch.files import copy_to
from imagejob_runner.sources.base import Entry
from imagejob_runner.sources.permitted import Permitted
from imagejob_runner.urls import FileUrl, parse_url, resolve

_Format = Literal["txt", "csv", "jsonl", "parquet"]
_Record = tuple[str, dict[str, Any]]
_MAX_TEXT: Final = 4096
_PARQUET_ROWS: Final = 4096


async def list_manifest(manifest: Manifest, download: Download) -> AsyncIterator[Entry]:
    """Lists the inputs that a manifest names, in its order.

    Args:
        manifest: What the job says.
        download: How a manifest on a web server is fetched.

    Raises:
        InvalidSourceError: The manifest says something that cannot be, with the row.
        StorageError: It cannot be read.
    """
    form = manifest.format or _format_of(manifest.url)
    location = parse_url(manifest.url)
    permitted = Permitted(manifest.url, manifest.allowed_sources)
    with tempfile.TemporaryDirectory(prefix="imagejob-manifest-") as folder:
        if isinstance(location, FileUrl):
            path = location.path
            if not path.is_file():
                wrong = "is no file" if path.exists() else "does not exist"
                raise InvalidSourceError(f"source.manifest.url: {path} {wrong}; check the path")
        else:
            path = Path(folder, "manifest")
            try:
                await copy_to(manifest.url, path, download)
            except InvalidJobError as error:
                raise InvalidSourceError(f"source.manifest.url: {error}") from error
        for entry in _entries(manifest, permitted, form, path):
            yield entry


def _format_of(url: str) -> _Format:
    name = urlsplit(url).path if url.lower().startswith(("http://", "https://")) else url
    suffix = PurePosixPath(name).suffix.lower().removeprefix(".")
    known: dict[str, _Format] = {"txt": "txt", "list": "txt", "csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet"}
    if suffix not in known:
        choices = ", ".join(get_args(_Format))
        raise InvalidSourceError(
            f"source.manifest.url {shown_url(url)!r}: the ending {suffix!r} says no format; set source.manifest.format to {choices}"
        )
    return known[suffix]


def _entries(manifest: Manifest, permitted: Permitted, form: _Format, path: Path) -> Iterator[Entry]:
    records: Iterable[_Record]
    match form:
        case "txt":
            records = _txt(manifest, path)
        case "csv":
            records = _csv(manifest, path)
        case "jsonl":
            records = _jsonl(manifest, path)
        case "parquet":
            records = _parquet(manifest, path)
    try:
        for where, record in records:
            yield _entry(manifest, permitted, where, record)
    except UnicodeDecodeError as error:
        raise InvalidSourceError(
            f"{shown_url(manifest.url)}: not UTF-8 text (byte {error.start}: {error.reason}); save it as UTF-8"
        ) from None


def _entry(manifest: Manifest, permitted: Permitted, where: str, record: dict[str, Any]) -> Entry:
    url = record.get(manifest.url_field)
    if not isinstance(url, str) or not url.strip():
        raise InvalidSourceError(f"{where}: {manifest.url_field!r} is {'empty' if not url else repr(url)[:80]}; every row needs a URL")
    _check_text(where, manifest.url_field, url)
    identity = record.get(manifest.id_field)
    if identity is None:
        identity = kept_url(url)
    elif isinstance(identity, int) and not isinstance(identity, bool):
        identity = str(identity)
    if not isinstance(identity, str) or not identity:
        raise InvalidSourceError(
            f"{where}: {manifest.id_field!r} is {repr(identity)[:80]}; an id is a text or a whole number, and not empty"
        )
    _check_text(where, manifest.id_field, identity)
    try:
        resolved = resolve(manifest.url, url)
        permitted.check(resolved)
    except InvalidJobError as error:
        raise InvalidSourceError(f"{where}: {error}") from None
    return Entry(identity, resolved)


def _check_text(where: str, name: str, text: str) -> None:
    if len(text) > _MAX_TEXT:
        raise InvalidSourceError(f"{where}: {name!r} has {len(text)} characters; at most {_MAX_TEXT} are allowed")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidSourceError(f"{where}: {name!r} holds half of a surrogate pair, which is no Unicode text: {text[:80]!r}")


def _txt(manifest: Manifest, path: Path) -> Iterator[_Record]:
    name = shown_url(manifest.url)
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if text := line.strip("\r\n \t"):
                yield f"{name}, line {number}", {manifest.url_field: text}


def _csv(manifest: Manifest, path: Path) -> Iterator[_Record]:
    name = shown_url(manifest.url)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            _check_columns(manifest, list(reader.fieldnames or []))
            for record in reader:
                where = f"{name}, line {reader.line_num}"
                if None in record:
                    raise InvalidSourceError(f"{where}: more fields than the header has columns; put values with commas in quotes")
                yield where, record
        except csv.Error as error:
            raise InvalidSourceError(f"{name}, line {reader.reader.line_num}: not valid CSV: {error}") from None


def _jsonl(manifest: Manifest, path: Path) -> Iterator[_Record]:
    name = shown_url(manifest.url)
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(file, 1):
            where = f"{name}, line {number}"
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise InvalidSourceError(f"{where}: not valid JSON: {error}") from None
            if not isinstance(record, dict):
                raise InvalidSourceError(f'{where}: a row is a JSON object such as {{"id": …, "url": …}}, not a {type(record).__name__}')
            if manifest.url_field not in record:
                raise InvalidSourceError(f"{where}: {_missing(manifest, list(record))}")
            yield where, record


def _parquet(manifest: Manifest, path: Path) -> Iterator[_Record]:
    import pyarrow as pa  # noqa: PLC0415  takes a third of a second, and few jobs need it
    import pyarrow.parquet as pq  # noqa: PLC0415  as above

    name = shown_url(manifest.url)
    try:
        with pq.ParquetFile(path) as file:
            columns = list(file.schema_arrow.names)
            _check_columns(manifest, columns)
            wanted = [column for column in (manifest.id_field, manifest.url_field) if column in columns]
            number = 0
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=wanted):
                for record in batch.to_pylist():
                    number += 1
                    yield f"{name}, row {number}", record
    except (pa.ArrowException, OSError) as error:
        raise InvalidSourceError(f"{name}: not a readable Parquet file: {error}") from None


def _check_columns(manifest: Manifest, columns: list[str]) -> None:
    if manifest.url_field not in columns:
        raise InvalidSourceError(f"{shown_url(manifest.url)}: {_missing(manifest, columns)}")
    if manifest.id_field not in columns and "id_field" in manifest.model_fields_set:
        raise InvalidSourceError(
            f"{shown_url(manifest.url)}: no column {manifest.id_field!r} (source.manifest.idField); the columns are {', '.join(columns)}"
        )


def _missing(manifest: Manifest, columns: list[str]) -> str:
    nearest = difflib.get_close_matches(manifest.url_field, columns, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    found = ", ".join(columns[:20]) or "none at all"
    return f"no column {manifest.url_field!r}; {hint}there are: {found}. Set source.manifest.urlField to the one with the URLs"

"""The bytes of a part: rows as JSON Lines or as Parquet, with strict reading so that damage is seen and never guessed around.

Whatever is written says itself whether it is whole: each line of JSON carries its digest, and so does each Parquet file.
"""

import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError, StorageError
from imagejob_runner.jsontext import exact, quick
from imagejob_runner.output.kinds import OutputKinds
from imagejob_runner.rows import Row
from imagejob_runner.sealed import LINE, MAX_DEPTH, strict_json

KEYS: Final = ("id", "url", "status", "outputs", "error", "provenance", "timings")
STATUSES: Final = ("ok", "failed", "skipped")
_KEY_SET: Final = frozenset(KEYS)
_ERROR_TYPES: Final = {"code": str, "message": str, "attempts": int, "retryable": bool}


def check_json(value: object, where: str, depth: int = 1) -> None:
    """Makes sure that a value can stand in a row: JSON's types, finite numbers, text that is Unicode, not too deep.

    Args:
        value: The value.
        where: Its path, for the message, such as ``outputs.classify``.
        depth: Lists and objects around it; the row itself is one.

    Raises:
        ImageError: InvalidOutput, with the path of the part that cannot.
    """
    if depth >= MAX_DEPTH and isinstance(value, dict | list | tuple):
        raise ImageError(ErrorCode.INVALID_OUTPUT, f"the row would be nested more than {MAX_DEPTH} deep at {where[:80]}…")
    match value:
        case None | bool() | int():
            pass
        case float():
            if not math.isfinite(value):
                raise ImageError(ErrorCode.INVALID_OUTPUT, f"{where} is {value}, which JSON has no number for")
        case str():
            if has_half_surrogate(value):
                raise ImageError(ErrorCode.INVALID_OUTPUT, f"{where} holds half of a surrogate pair, which is no Unicode text")
        case dict():
            _check_object(value, where, depth)
        case list() | tuple():
            for index, item in enumerate(value):
                check_json(item, f"{where}[{index}]", depth + 1)
        case _:
            kind = type(value).__name__
            raise ImageError(ErrorCode.INVALID_OUTPUT, f"{where} is a {kind}, which JSON has not; use lists, dicts, texts, numbers")


def _check_object(value: dict[Any, Any], where: str, depth: int) -> None:
    for key, item in value.items():
        if not isinstance(key, str):
            raise ImageError(ErrorCode.INVALID_OUTPUT, f"{where} has the key {key!r}; the keys of a JSON object are texts")
        check_json(key, f"a key of {where}")
        check_json(item, f"{where}.{key}", depth + 1)


def has_half_surrogate(text: str) -> bool:
    """Whether a text cannot be written as UTF-8."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def encode_rows(rows: Sequence[Row], form: str, kinds: OutputKinds | None = None) -> bytes:
    """The bytes of a part.

    Args:
        rows: The rows; their outputs have passed `check_json`.
        form: ``jsonl`` or ``parquet``.
        kinds: What the outputs are, for typed columns in ``parquet``; None for columns of JSON text, as older versions wrote.

    Raises:
        ValueError: A row holds what JSON cannot hold.
    """
    if form == "parquet":
        from imagejob_runner.output.parquet import encode_parquet  # noqa: PLC0415  pyarrow takes a third of a second to import

        return encode_parquet(rows, kinds)
    part = io.BytesIO()  # a list of all lines would double the memory of a large chunk
    part.writelines(LINE.close(quick(row, nulls=row["error"] is None)) for row in rows)
    return part.getvalue()


def decode_rows(data: bytes, form: str, where: str = "the part") -> list[Row]:
    """The rows of a part.

    Args:
        data: Its bytes.
        form: ``jsonl`` or ``parquet``.
        where: Its name, for messages.

    Raises:
        StorageError: It is torn or garbled; the message has the line.
    """
    if form == "parquet":
        from imagejob_runner.output.parquet import decode_parquet  # noqa: PLC0415  as above

        return decode_parquet(data, where)
    return [_decode_row(line, f"{where}, line {number}") for number, line in enumerate(_lines(data, where), 1)]


class Skimmed(NamedTuple):
    """How the rows of a part ended."""

    statuses: Counter[str]
    """Rows by status."""
    failed: list[Row]
    """The failed rows, in order."""


def skim_rows(data: bytes, form: str, where: str = "the part") -> Skimmed:
    """How the rows of a part ended, for whoever needs no more of those that did not fail: several times as fast as `decode_rows`.

    Damage is seen all the same: each digest is compared. What a row says beside its status is not looked at.

    Args:
        data: Its bytes.
        form: ``jsonl`` or ``parquet``.
        where: Its name, for messages.

    Raises:
        StorageError: It is torn or garbled; the message has the line.
    """
    if form == "parquet":
        from imagejob_runner.output.parquet import skim_parquet  # noqa: PLC0415  as above

        return skim_parquet(data, where)
    statuses: Counter[str] = Counter()
    failed: list[Row] = []
    for number, line in enumerate(_lines(data, where), 1):
        # A quotation mark inside of a text has a backslash before it, so the first place that looks like this is the row's own.
        _, _, rest = line.partition(b'","status":"')
        if rest.startswith((b'ok"', b'skipped"')):
            status = "ok" if rest.startswith(b"ok") else "skipped"
            _check_seal(line, where, number)
        else:
            row = _decode_row(line, f"{where}, line {number}")
            status = row["status"]
            if status == "failed":
                failed.append(row)
        statuses[status] += 1
    return Skimmed(statuses, failed)


def encode_row(row: Row) -> bytes:
    """One row as a line of ``errors.jsonl``, with its digest: numbers as every version has written them, so that each can check each."""
    return LINE.close(exact(row).encode())


def checked_row(row: Any, where: str) -> Row:  # noqa: ANN401  it may be anything: that is what is checked
    """The row, if it has the form that docs/rows.md describes.

    Raises:
        StorageError: It has not.
    """
    if not isinstance(row, dict) or row.keys() != _KEY_SET:
        raise StorageError(f"{where}: no row; a row has {', '.join(KEYS)}")
    if not isinstance(row["id"], str) or not isinstance(row["url"], str) or row["status"] not in STATUSES:
        raise StorageError(f"{where}: no row; id and url are texts and status is one of {', '.join(STATUSES)}")
    timings = row["timings"]
    if not isinstance(row["outputs"], dict) or not isinstance(row["provenance"], dict) or not isinstance(timings, dict):
        raise StorageError(f"{where}: no row; outputs, provenance and timings are objects")
    for seconds in timings.values():
        if type(seconds) not in (float, int) or seconds < 0:
            raise StorageError(f"{where}: no row; timings are seconds, none below 0")
    if not _fits(row["error"], row["status"]):
        raise StorageError(f"{where}: the row of {row['id']!r} is {row['status']} but its error says otherwise")
    return row


def _fits(error: object, status: str) -> bool:
    if status == "ok":
        return error is None
    return (
        isinstance(error, dict)
        and error.keys() == _ERROR_TYPES.keys()
        and all(type(error[name]) is kind for name, kind in _ERROR_TYPES.items())
        and error["attempts"] >= 1
        and (status == "failed" or error["code"] == ErrorCode.SKIPPED)
    )


def _decode_row(line: bytes, where: str) -> Row:
    try:
        row = strict_json(line)
    except ValueError as error:
        raise StorageError(f"{where}: not valid JSON ({error}); the file is damaged") from None
    if isinstance(row, dict):
        row.pop("digest", None)
    checked = checked_row(row, where)
    _check_seal(line, where)
    return checked


def _check_seal(line: bytes, where: str, number: int | None = None) -> None:
    try:
        LINE.check(line)
    except ValueError as error:
        place = where if number is None else f"{where}, line {number}"
        raise StorageError(f"{place}: the row is damaged: {error}") from None


def _lines(data: bytes, where: str) -> Iterator[bytes]:
    """The lines of a part, each with its newline."""
    *lines, rest = data.split(b"\n")
    if rest:
        raise StorageError(f"{where}, line {len(lines) + 1}: the line does not end; the file is torn")
    return (line + b"\n" for line in lines)

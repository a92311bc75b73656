"""Columns of a Parquet part, typed: what of a row they take, and how it comes back.

A column says of each value whether it fits; what does not is kept as JSON text beside the columns, so no row is lost or refused.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagejob_runner.jsontext import quick
from imagejob_runner.output.kinds import OutputKind
from imagejob_runner.sealed import strict_json

_INT64: Final = 2**63
_LARGEST_FLOAT32: Final = float(np.finfo(np.float32).max)
_EXACT_IN_FLOAT32: Final = 2**24
_DIGITS: Final = 7
"""Significant decimal digits of a float32, and of the numbers that inference writes, as of the largest of an image."""


class Column(ABC):
    """One kind of value as a column."""

    type: pa.DataType
    """Its type."""

    @abstractmethod
    def taken(self, value: object) -> Any:  # noqa: ANN401  what `array` makes a column of
        """The value as `array` takes it; None if it does not fit."""

    @abstractmethod
    def array(self, taken: Sequence[Any]) -> pa.Array:
        """The column of what `taken` gave; None where a row has no value."""

    @abstractmethod
    def values(self, array: pa.Array) -> list[Any]:
        """The values of a column; None where a row has none.

        Raises:
            ValueError: It holds what no row can have.
        """


class Scalar(Column):
    """Texts, whole numbers or truth values."""

    def __init__(self, kind: type, arrow: pa.DataType) -> None:
        self._kind = kind
        self.type = arrow

    def taken(self, value: object) -> Any:  # noqa: ANN401  as above
        """See `Column.taken`."""
        fits = type(value) is self._kind and (not isinstance(value, int) or -_INT64 <= value < _INT64)
        return value if fits else None

    def array(self, taken: Sequence[Any]) -> pa.Array:
        """See `Column.array`."""
        return pa.array(taken, self.type)

    def values(self, array: pa.Array) -> list[Any]:
        """See `Column.values`."""
        return array.to_pylist()  # type: ignore[no-any-return]


TEXT: Final = Scalar(str, pa.string())
COUNT: Final = Scalar(int, pa.int64())
TRUTH: Final = Scalar(bool, pa.bool_())


class Json(Column):
    """Anything, as JSON text."""

    type = pa.string()

    def taken(self, value: object) -> str | None:
        """See `Column.taken`."""
        return None if value is None else quick(value).decode()

    def array(self, taken: Sequence[str | None]) -> pa.Array:
        """See `Column.array`."""
        return pa.array(taken, self.type)

    def values(self, array: pa.Array) -> list[Any]:
        """See `Column.values`."""
        return [None if text is None else strict_json(text.encode()) for text in array.to_pylist()]


class Seconds(Column):
    """Seconds by step."""

    type = pa.map_(pa.string(), pa.float64())

    def taken(self, value: object) -> list[tuple[str, float]] | None:
        """See `Column.taken`."""
        if not isinstance(value, dict) or not all(type(each) is float and math.isfinite(each) for each in value.values()):
            return None
        return list(value.items())

    def array(self, taken: Sequence[list[tuple[str, float]] | None]) -> pa.Array:
        """See `Column.array`."""
        return pa.array(taken, self.type)

    def values(self, array: pa.Array) -> list[Any]:
        """See `Column.values`."""
        offsets, names, seconds = array.offsets.tolist(), array.keys.to_pylist(), _finite(array.items).tolist()
        pairs = list(zip(names, seconds, strict=True))
        found = [dict(pairs[start:end]) for start, end in pairwise(offsets)]
        if sum(map(len, found)) != len(pairs):
            raise ValueError("a step has two times")
        return _with_none(array, found)


class Classes(Column):
    """The best classes of a classification."""

    type = pa.list_(pa.struct([("label", pa.string()), ("index", pa.int64()), ("score", pa.float64())]))

    def taken(self, value: object) -> list[Any] | None:
        """See `Column.taken`."""
        return value if isinstance(value, list) and all(map(_is_class, value)) else None

    def array(self, taken: Sequence[list[Any] | None]) -> pa.Array:
        """See `Column.array`."""
        return pa.array(taken, self.type)

    def values(self, array: pa.Array) -> list[Any]:
        """See `Column.values`."""
        offsets, classes = array.offsets.tolist(), array.values
        labels, indices, scores = (classes.field(number) for number in range(3))
        if classes.null_count or labels.null_count or indices.null_count:
            raise ValueError("a class lacks its label or index")
        columns = labels.to_pylist(), indices.to_numpy().tolist(), _finite(scores).tolist()
        found = [{"label": label, "index": index, "score": score} for label, index, score in zip(*columns, strict=True)]
        return _with_none(array, [found[start:end] for start, end in pairwise(offsets)])


class Embedding(Column):
    """A list of numbers, as float32."""

    type = pa.list_(pa.float32())

    def taken(self, value: object) -> np.ndarray | None:
        """See `Column.taken`."""
        numbers = _numbers(value)
        return numbers.astype(np.float32) if numbers is not None and numbers.ndim == 1 and numbers.dtype.kind == "f" else None

    def array(self, taken: Sequence[np.ndarray | None]) -> pa.Array:
        """See `Column.array`."""
        return _lists(taken)

    def values(self, array: pa.Array) -> list[Any]:
        """See `Column.values`."""
        return [None if vector is None else _digits(vector).tolist() for vector in _vectors(array)]


class Tensor(Column):
    """An array of any shape: its numbers in one list, as float32, the last dimension first to change; shape and dtype beside it."""

    type = pa.struct([("shape", pa.list_(pa.int32())), ("dtype", pa.string()), ("data", pa.list_(pa.float32()))])

    def taken(self, value: object) -> tuple[list[int], str, np.ndarray] | None:
        """See `Column.taken`. Whole numbers fit if float32 has each of them."""
        if not isinstance(value, dict) or value.keys() != {"shape", "dtype", "data"} or not isinstance(value["dtype"], str):
            return None
        shape, dtype, numbers = value["shape"], value["dtype"], _numbers(value["data"])
        if numbers is None or list(numbers.shape) != shape or numbers.dtype.kind != _kind_of(dtype):
            return None
        if numbers.dtype.kind == "i" and np.abs(numbers).max(initial=0) > _EXACT_IN_FLOAT32:
            return None
        return shape, dtype, numbers.ravel().astype(np.float32)

    def array(self, taken: Sequence[tuple[list[int], str, np.ndarray] | None]) -> pa.Array:
        """See `Column.array`."""
        shapes, dtypes, data = zip(*(each or (None, None, None) for each in taken), strict=True)
        arrays = [pa.array(shapes, pa.list_(pa.int32())), pa.array(dtypes, pa.string()), _lists(data)]
        return pa.StructArray.from_arrays(arrays, fields=list(self.type), mask=pa.array([each is None for each in taken]))

    def values(self, array: pa.Array) -> list[Any]:
        """See `Column.values`."""
        shapes, dtypes, data = array.field(0).to_pylist(), array.field(1).to_pylist(), _vectors(array.field(2))
        return [
            _tensor(shape, dtype, numbers) if there else None
            for shape, dtype, numbers, there in zip(shapes, dtypes, data, array.is_valid().to_pylist(), strict=True)
        ]


class Image(Column):
    """A derived image."""

    type = pa.struct([("image", pa.string()), ("sha256", pa.string()), ("bytes", pa.int64())])

    def taken(self, value: object) -> dict[str, Any] | None:
        """See `Column.taken`."""
        if not isinstance(value, dict) or value.keys() != {"image", "sha256", "bytes"}:
            return None
        parts = (TEXT.taken(value["image"]), TEXT.taken(value["sha256"]), COUNT.taken(value["bytes"]))
        return None if None in parts else value

    def array(self, taken: Sequence[dict[str, Any] | None]) -> pa.Array:
        """See `Column.array`."""
        return pa.array(taken, self.type)

    def values(self, array: pa.Array) -> list[Any]:
        """See `Column.values`."""
        return array.to_pylist()  # type: ignore[no-any-return]


COLUMNS: Final[dict[OutputKind, Column]] = {
    OutputKind.CLASSES: Classes(),
    OutputKind.EMBEDDING: Embedding(),
    OutputKind.TENSOR: Tensor(),
    OutputKind.IMAGE: Image(),
    OutputKind.JSON: Json(),
}


def column_of(arrow: pa.DataType) -> Column:
    """The column of an output that a file has.

    Raises:
        ValueError: No output has such a type.
    """
    for column in COLUMNS.values():
        if column.type.equals(arrow):
            return column
    raise ValueError(f"no output is a {arrow}")


def _is_class(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"label", "index", "score"}
        and type(value["label"]) is str
        and type(value["index"]) is int
        and -_INT64 <= value["index"] < _INT64
        and type(value["score"]) is float
        and math.isfinite(value["score"])
    )


def _numbers(value: object) -> np.ndarray | None:
    """Nested lists of numbers as an array; None if they are none, or too large for float32."""
    try:
        numbers = np.array(value) if isinstance(value, list) else None
    except (ValueError, OverflowError):  # ragged
        return None
    if numbers is None or numbers.dtype.kind not in "fib":
        return None
    return numbers if numbers.dtype.kind != "f" or np.abs(numbers).max(initial=0.0) <= _LARGEST_FLOAT32 else None


def _kind_of(dtype: str) -> str:
    return "b" if dtype == "bool" else "i" if dtype.startswith(("int", "uint")) else "f"


def _tensor(shape: list[int], dtype: str, numbers: np.ndarray | None) -> dict[str, Any]:
    if shape is None or dtype is None or numbers is None or math.prod(shape) != numbers.size:
        raise ValueError("a tensor has another shape than its data")
    kind = _kind_of(dtype)
    whole = numbers.astype(np.int64 if kind == "i" else np.bool_) if kind != "f" else _digits(numbers)
    return {"shape": shape, "dtype": dtype, "data": whole.reshape(shape).tolist()}


def _digits(values: np.ndarray) -> np.ndarray:
    """Float32 numbers rounded as inference rounds them: 0.1, not 0.10000000149011612."""
    wide = values.astype(np.float64)
    largest = float(np.abs(wide).max(initial=0.0))
    return wide.round(_DIGITS - 1 - math.floor(math.log10(largest))) if largest > 0 else wide


def _lists(vectors: Sequence[np.ndarray | None]) -> pa.Array:
    """A column of lists of float32; None where there is none."""
    lengths = np.array([0, *(0 if vector is None else vector.size for vector in vectors)], dtype=np.int64).cumsum()
    flat = np.concatenate([np.zeros(0, np.float32), *(vector for vector in vectors if vector is not None)])
    missing = pa.array([vector is None for vector in vectors])
    return pa.ListArray.from_arrays(pa.array(lengths, pa.int32()), pa.array(flat, pa.float32()), mask=missing)


def _vectors(array: pa.Array) -> list[np.ndarray | None]:
    offsets, flat = array.offsets.to_numpy().tolist(), _finite(array.values)
    return _with_none(array, [flat[start:end] for start, end in pairwise(offsets)])


def _finite(array: pa.Array) -> np.ndarray:
    if array.null_count or (not pc.all(pc.is_finite(array)).as_py() and len(array)):
        raise ValueError("a number is missing, or not finite")
    numbers: np.ndarray = array.to_numpy()
    return numbers


def _with_none(array: pa.Array, values: list[Any]) -> list[Any]:
    if not array.null_count:
        return values
    return [value if there else None for value, there in zip(values, array.is_valid().to_pylist(), strict=True)]

"""Rows as a table for people: pure rendering."""

import json
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_cli.wording import printable
from imagejob_runner.rows import Row

_OUTPUT_CHARACTERS = 60


class Columns:
    """Which columns some rows have, and what stands in them: file, label, score, status and error.

    Without any classification among the rows the outputs stand in one column; errors have a column when there are any.

    Args:
        rows: The rows, or the first of many.
        of: What made them, where there are more: its outputs have columns in any case, and so have errors.
    """

    def __init__(self, rows: Sequence[Row], *, of: ImagePipelineSpec | None = None) -> None:
        steps = of.steps if of is not None else []
        classifies = any(step.infer is not None and step.infer.outputs.top_k is not None for step in steps)
        self._classified = classifies or any(best(row) for row in rows)
        writes = any(step.infer is not None or step.call is not None for step in steps)
        self._other = not self._classified and (writes or any(row["outputs"] for row in rows))
        self._errors = of is not None or any(row["error"] for row in rows)

    @property
    def heads(self) -> list[str]:
        """What stands above them."""
        found = ["LABEL", "SCORE"] if self._classified else ["OUTPUTS"] if self._other else []
        return ["FILE", *found, "STATUS", *(["ERROR"] if self._errors else [])]

    def cells(self, row: Row) -> list[str]:
        """What a row says, as many texts as there are columns."""
        cells = [printable(row["id"])]
        if self._classified:
            found = best(row)
            cells += [printable(found[0]), found[1]] if found else ["", ""]
        elif self._other:
            cells.append(beginning(row["outputs"]))
        cells.append(row["status"])
        if self._errors:
            error = row["error"]
            cells.append(printable(f"{error['code']}: {error['message']}") if error else "")
        return cells


def row_table(rows: Sequence[Row]) -> Table:
    """All rows, in columns that fit into the terminal."""
    columns = Columns(rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in columns.heads:
        narrow = head in ("SCORE", "STATUS")
        table.add_column(head, no_wrap=narrow, overflow="ellipsis" if narrow else "fold", justify="right" if head == "SCORE" else "left")
    for row in rows:
        table.add_row(*columns.cells(row))
    return table


class LongTable:
    """A line for each of many rows, one by one: columns as wide as the first rows need, and no cell cut or folded.

    Args:
        first: The first rows.
        pipeline: What made them.
    """

    def __init__(self, first: Sequence[Row], pipeline: ImagePipelineSpec) -> None:
        self._columns = Columns(first, of=pipeline)
        texts = [self._columns.heads, *map(self._columns.cells, first)]
        self._widths = [max(map(len, column)) for column in zip(*texts, strict=True)]

    @property
    def head(self) -> str:
        """The line above the rows."""
        return self._line(self._columns.heads)

    def line(self, row: Row) -> str:
        """A row."""
        return self._line(self._columns.cells(row))

    def _line(self, cells: Sequence[str]) -> str:
        return "  ".join(map(str.ljust, cells, self._widths)).rstrip()


def best(row: Row) -> tuple[str, str] | None:
    """Label and score of the row's first classification; None if it has none."""
    for value in row["outputs"].values():
        if isinstance(value, list) and value and isinstance(value[0], dict) and {"label", "score"} <= value[0].keys():
            first: dict[str, Any] = value[0]
            label = first["label"] if first["label"] is not None else f"class {first.get('index')}"
            return str(label), f"{first['score']:.2f}"
    return None


def beginning(outputs: dict[str, Any]) -> str:
    """Outputs as JSON, cut where they get long."""
    if not outputs:
        return ""
    text = printable(json.dumps(outputs, ensure_ascii=False))
    return text if len(text) <= _OUTPUT_CHARACTERS else text[: _OUTPUT_CHARACTERS - 1] + "…"

"""Rows as a table for people: pure rendering."""

import json
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from imagejob_cli.wording import printable
from imagejob_runner.rows import Row

_OUTPUT_CHARACTERS = 60


def row_table(rows: Sequence[Row]) -> Table:
    """File, label, score and status of each row.

    Without any classification among them the outputs stand in one column; errors have a column when there are any.
    """
    bests = [best(row) for row in rows]
    classified = any(bests)
    other = not classified and any(row["outputs"] for row in rows)
    wrong = any(row["error"] for row in rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("FILE", overflow="fold")
    if classified:
        table.add_column("LABEL", overflow="fold")
        table.add_column("SCORE", justify="right", no_wrap=True)
    if other:
        table.add_column("OUTPUTS", overflow="fold")
    table.add_column("STATUS", no_wrap=True)
    if wrong:
        table.add_column("ERROR", overflow="fold")
    for row, found in zip(rows, bests, strict=True):
        cells = [printable(row["id"])]
        if classified:
            cells += [printable(found[0]), found[1]] if found else ["", ""]
        if other:
            cells.append(beginning(row["outputs"]))
        cells.append(row["status"])
        if wrong:
            error = row["error"]
            cells.append(printable(f"{error['code']}: {error['message']}") if error else "")
        table.add_row(*cells)
    return table


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

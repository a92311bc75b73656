"""`imagejob show`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imagejob_runner.planning import Plan
    from imagejob_runner.rows import Row
    from imagejob_runner.storage import OutputStore

DEFAULT_ROWS = 50
LONG_TABLE = 1000
"""So many rows are printed one by one as they are read; fewer in columns that fit into the terminal."""


@click.command(
    epilog="""\b
Examples:
  imagejob show results/demo
  imagejob show s3://bucket/labels/ --status failed --limit 0
  imagejob show results/demo --json --limit 0 | jq -r '[.id, .outputs.classify[0].label] | @tsv'
"""
)
@click.argument("output")
@click.option(
    "--limit", type=click.IntRange(min=0), default=DEFAULT_ROWS, show_default=True, metavar="N", help="Rows to print; 0 prints all."
)
@click.option("--status", type=click.Choice(["ok", "failed", "skipped"]), help="Only rows with this status.")
@click.option("--json", "as_json", is_flag=True, help="Print whole rows, one JSON object a line, whatever the output's format is.")
def show(output: str, *, limit: int, status: str | None, as_json: bool) -> None:
    """Print an output's rows as a table, in the order of the inputs.

    OUTPUT is a folder or a URL, as given to `imagejob run`. Of a classification the best label and its score are shown, of other outputs
    the beginning.
    """
    asyncio.run(_show(output, limit, status, as_json=as_json))


async def _show(url: str, limit: int, status: str | None, *, as_json: bool) -> None:
    from imagejob_runner.jsontext import quick
    from imagejob_runner.planning import read_plan
    from imagejob_runner.storage import open_output

    store = open_output(url)
    plan = await read_plan(store)
    rows = (row async for row in _rows(store, plan) if status in (None, row["status"]))
    if as_json:
        async for row in _first(rows, limit):
            print(quick(row, nulls=row["error"] is None).decode())
        return
    # One more than is printed tells whether there are more.
    chosen = _first(rows, limit + 1 if limit else 0)
    beginning = [row async for row in _first(chosen, LONG_TABLE)]
    printed, more = await _print_rows(plan, beginning, chosen, limit)
    await _print_end(store, plan, printed, status=status, more=more)


async def _print_rows(plan: Plan, beginning: list[Row], rest: AsyncIterator[Row], limit: int) -> tuple[int, bool]:
    """Prints rows; returns how many, and whether there are more."""
    from imagejob_cli.consoles import output_console
    from imagejob_cli.table import LongTable, row_table

    more = bool(limit) and len(beginning) > limit
    if more or len(beginning) < LONG_TABLE:
        rows = beginning[:limit] if more else beginning
        if rows:
            output_console().print(row_table(rows))
        return len(rows), more
    table = LongTable(beginning, plan.pipeline)
    print(table.head)
    for row in beginning:
        print(table.line(row))
    printed = len(beginning)
    async for row in rest:
        if printed == limit:
            return printed, True
        print(table.line(row))
        printed += 1
    return printed, False


async def _print_end(store: OutputStore, plan: Plan, printed: int, *, status: str | None, more: bool) -> None:
    from imagejob_cli.consoles import output_console
    from imagejob_cli.wording import count, printable
    from imagejob_runner.constants import RESULTS_FOLDER
    from imagejob_runner.output import committed_chunks

    console = output_console()
    shown = count(printed, f"{status} row" if status else "row")
    console.print(f"{'The first ' if more else ''}{shown} of {count(plan.total, 'input')}.", soft_wrap=True)
    chunks = len(await committed_chunks(store, plan))
    if chunks < plan.chunks:
        console.print(f"{chunks:,} of {count(plan.chunks, 'chunk')} are there: run the job again to go on.", soft_wrap=True)
    console.print(f"Results: {printable(store.url.rstrip('/'))}/{RESULTS_FOLDER}/part-*.{plan.format}", soft_wrap=True)


async def _rows(store: OutputStore, plan: Plan) -> AsyncIterator[Row]:
    from imagejob_runner.output import committed_chunks, read_rows

    for chunk in sorted(await committed_chunks(store, plan)):
        for row in await read_rows(store, plan, chunk % plan.shards, chunk) or []:
            yield row


async def _first(rows: AsyncIterator[Row], limit: int) -> AsyncIterator[Row]:
    given = 0
    async for row in rows:
        yield row
        given += 1
        if given == limit:
            return

"""Ends a job: counts what the parts say, writes the files for people, and `_SUCCESS` last and only when it is true."""

import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from imagejob_api.failure import shortened
from imagejob_api.imagejob import FailurePolicy
from imagejob_runner.constants import ERRORS_FILE, SUCCESS_FILE, SUMMARY_FILE
from imagejob_runner.exceptions import StorageError
from imagejob_runner.output.codec import Skimmed, encode_row
from imagejob_runner.output.parts import committed_chunks, skim_part
from imagejob_runner.output.summary import Summary, read_summary, within_policy
from imagejob_runner.output.window import ordered, parts_ahead
from imagejob_runner.planning import Plan
from imagejob_runner.storage import OutputStore


async def reopen(output: OutputStore) -> None:
    """Takes the mark of success away, before rows of a finished output are done again."""
    await output.delete(SUCCESS_FILE)


async def finalize(output: OutputStore, plan: Plan, policy: FailurePolicy, facts: Mapping[str, Any] | None = None) -> Summary:
    """Counts all rows and writes ``errors.jsonl``, ``summary.json`` and, if the job succeeded, ``_SUCCESS``.

    An output that is finished already, and whose summary is still true, is left alone. If rows are missing nothing is written.

    Args:
        output: The output.
        plan: Its plan.
        policy: How much may fail.
        facts: More for ``summary.json``; JSON values.

    Returns:
        The summary; that of the earlier run, with its facts, when the output was finished already.

    Raises:
        StorageError: Something cannot be read or written, or a part is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="imagejob-errors-") as folder:
        errors = Path(folder, ERRORS_FILE)
        summary = await _count(output, plan, policy, errors, facts or {})
        if summary.missing:
            return summary
        stored = await _stored(output)
        marked = await output.read(SUCCESS_FILE) is not None
        if stored is not None and stored.says_the_same(summary) and marked == summary.success:
            return replace(stored, examples=summary.examples)
        if marked:  # not otherwise: another process may be at the end of the same, and have written it just now
            await output.delete(SUCCESS_FILE)
        await output.replace_file(ERRORS_FILE, errors)
        await output.replace(SUMMARY_FILE, summary.encoded())
        if summary.success:
            await output.replace(SUCCESS_FILE, b"")
        return summary


async def _count(output: OutputStore, plan: Plan, policy: FailurePolicy, errors: Path, facts: Mapping[str, Any]) -> Summary:
    statuses: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    examples: dict[str, str] = {}

    async def read(chunk: int) -> Skimmed:
        part = await skim_part(output, plan, chunk)
        if part.statuses.total() != plan.chunk_total(chunk):
            found = f"{part.statuses.total()} of {plan.chunk_total(chunk)}"
            raise StorageError(f"{output.url}: the part of chunk {chunk} has {found} rows; delete it and run again")
        return part

    chunks = sorted(await committed_chunks(output, plan))
    with await asyncio.to_thread(errors.open, "wb") as file:
        async with contextlib.aclosing(ordered(chunks, read, parts_ahead(plan))) as parts:
            async for counted, failed in parts:
                statuses.update(counted)
                codes.update(row["error"]["code"] for row in failed)
                for row in failed:
                    examples.setdefault(row["error"]["code"], shortened(f"{row['id']}: {row['error']['message']}"))
                file.writelines(encode_row(row) for row in failed)
    return Summary(
        name=plan.name,
        fingerprint=plan.fingerprint,
        total=plan.total,
        succeeded=statuses["ok"],
        failed=statuses["failed"],
        skipped=statuses["skipped"],
        error_codes=dict(sorted(codes.items())),
        within_policy=within_policy(policy, failed=statuses["failed"], total=plan.total),
        facts=facts,
        examples=examples,
    )


async def _stored(output: OutputStore) -> Summary | None:
    try:
        return await read_summary(output)
    except StorageError:
        return None  # damaged: written anew

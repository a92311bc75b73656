"""Says in what way a job differs from the one that an output belongs to, in the words of the job's file."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from imagejob_runner.constants import RESULTS_FOLDER
from imagejob_runner.exceptions import FingerprintError, StorageError
from imagejob_runner.planning.chunks import shard_chunks
from imagejob_runner.planning.digest import entry_digest
from imagejob_runner.planning.plan import Plan
from imagejob_runner.sources import Entry
from imagejob_runner.storage import OutputStore

_ABSENT: Final = "(nothing)"
_SHOWN: Final = 100
_COMPARED_INPUTS: Final = 200_000


def changed_fields(was: object, now: object, path: str = "") -> Iterator[str]:
    """One line for each field that differs: its path, what it was and what it is."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted({*was, *now}):
            yield from changed_fields(was.get(key, _ABSENT), now.get(key, _ABSENT), f"{path}.{key}" if path else key)
    elif was != now:
        yield f"{path}: was {_shown(was)}, now {_shown(now)}"


async def fingerprint_error(
    output: OutputStore, plan: Plan, components: dict[str, Any], output_format: str, entries: AsyncIterator[Entry] | None
) -> FingerprintError:
    """The error that refuses an output which belongs to another job.

    Args:
        output: The output.
        plan: The plan in it.
        components: What the new job consists of.
        output_format: The format that the new job asks for.
        entries: The new job's inputs, listed once more to be compared with the planned ones; None if they are known to be the same.
    """
    lines: list[str] = []
    if plan.format != output_format:
        lines.append(f"output.format: was {plan.format!r}, now {output_format!r}")
    was, now = plan.components, components
    if entries is not None and was["source"] != now["source"]:
        lines.append(await _source_difference(output, plan, now["source"]["count"], entries))
    lines.extend(changed_fields(_by_step(was["steps"]), _by_step(now["steps"]), "pipeline.steps"))
    if not lines:
        lines.extend(changed_fields(was, now))
    listed = "".join(f"\n  {line}" for line in lines)
    return FingerprintError(
        f"{output.url} holds the results of a job that differs from this one:{listed}\n"
        f"Use another output.url for this job, or undo the change to go on with the old one.{await _empty_hint(output)}"
    )


async def _empty_hint(output: OutputStore) -> str:
    """A plan is never replaced, not even one without rows: a process that has read it may be about to write the first."""
    async for _ in output.names(RESULTS_FOLDER):
        return ""
    return " It has no rows yet: when nothing works on it any more, it can be emptied and used again."


def _by_step(steps: list[dict[str, Any]]) -> dict[str, Any] | list[str]:
    """Steps by name, so that a path names the step; the order shows when it differs."""
    return {"order": [step["name"] for step in steps], **{step["name"]: {k: v for k, v in step.items() if k != "name"} for step in steps}}


async def _source_difference(output: OutputStore, plan: Plan, count: int, entries: AsyncIterator[Entry]) -> str:
    if max(plan.total, count) > _COMPARED_INPUTS:
        return f"source: the inputs differ; there were {plan.total}, now there are {count}"
    planned: dict[str, bytes] = {}
    try:
        for shard in range(plan.shards):
            async for chunk in shard_chunks(output, plan, shard):
                planned.update((entry.id, entry_digest(entry)) for entry in chunk.entries)
    except StorageError as error:
        return f"source: the inputs differ; there were {plan.total}, now there are {count} (which ones cannot be told: {error})"
    added, changed = 0, 0
    example = ""
    async for entry in entries:
        before = planned.pop(entry.id, None)
        if before is None:
            added += 1
        elif before != entry_digest(entry):
            changed += 1
        else:
            continue
        example = example or entry.id
    example = example or next(iter(planned), "")
    return f"source: {added} inputs added, {len(planned)} removed, {changed} with another URL (such as {_shown(example)})"


def _shown(value: object) -> str:
    text = value if value is _ABSENT else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"

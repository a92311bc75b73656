"""Requests in a row that are alike but for the numbers at the end of their ids: the queue writes such a run as one entry."""

import re
from collections.abc import Sequence
from typing import Any, Final

from nodelease.state import Waiter

_NUMBER: Final = re.compile(r"(?<![0-9])[1-9][0-9]{0,17}\Z")


def run(request: str, count: int) -> list[str]:
    """So many ids in a row, of which this is the first; none if it ends with no number."""
    stem, number = _first(request)
    return [f"{stem}{each}" for each in range(number, number + count)] if number else []


def _first(request: str) -> tuple[str, int]:
    """What the ids of a run begin with, and the number of this one, its first; 0 if it has none."""
    found = _NUMBER.search(request)
    return (request[: found.start()], int(found[0])) if found else ("", 0)


def packed(queue: Sequence[Waiter]) -> list[dict[str, Any]]:
    """The entries of a queue, each run in one."""
    entries: list[dict[str, Any]] = []
    first, count, stem, number = None, 1, "", 0
    for waiter in queue:
        if first is not None and number and _alike(first, waiter) and waiter.id == f"{stem}{number + count}":
            count += 1
            entries[-1]["count"] = count
        else:
            first, count = waiter, 1
            stem, number = _first(waiter.id)
            entries.append({"id": waiter.id, "pod": waiter.pod, "priority": waiter.priority})
            if waiter.slots > 1:
                entries[-1]["slots"] = waiter.slots
    return entries


def _alike(one: Waiter, other: Waiter) -> bool:
    return (one.pod, one.priority, one.slots) == (other.pod, other.priority, other.slots)

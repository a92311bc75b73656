"""Requests in a row that are alike but for the numbers at the end of their ids: the queue writes such a run as one entry."""

import re
from collections.abc import Sequence
from typing import Any, Final

from nodelease.state import Waiter

_NUMBER: Final = re.compile(r"(?<![0-9])[1-9][0-9]{0,17}$")


def is_numbered(request: str) -> bool:
    """Whether an id ends with a number, so that others can follow it."""
    return _NUMBER.search(request) is not None


def following(request: str, steps: int) -> str:
    """The id so many numbers after this one; "" if it ends with no number."""
    number = _NUMBER.search(request)
    return f"{request[: number.start()]}{int(number[0]) + steps}" if number else ""


def packed(queue: Sequence[Waiter]) -> list[dict[str, Any]]:
    """The entries of a queue, each run in one."""
    entries: list[dict[str, Any]] = []
    first, count = None, 1
    for waiter in queue:
        if first is not None and _alike(first, waiter) and waiter.id == following(first.id, count):
            count += 1
            entries[-1]["count"] = count
        else:
            first, count = waiter, 1
            entries.append({"id": waiter.id, "pod": waiter.pod, "priority": waiter.priority})
            if waiter.slots > 1:
                entries[-1]["slots"] = waiter.slots
    return entries


def _alike(one: Waiter, other: Waiter) -> bool:
    return (one.pod, one.priority, one.slots) == (other.pod, other.priority, other.slots)

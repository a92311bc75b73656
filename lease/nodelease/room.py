"""How long the entries of a Lease are, as they are written: what a Lease has room for."""

import json
from typing import Final

from nodelease.clock import Moment
from nodelease.runs import packed
from nodelease.state import Holder, LeaseState, Waiter

MOST_CHARACTERS: Final = 65_536
"""Of holders, queue and `holderIdentity` together; the admission policy refuses more."""
MOST_DIGITS: Final = 18
"""Of the largest number: more than any, and few enough for 64 bits."""


def compact(value: object) -> str:
    """JSON without blanks."""
    return json.dumps(value, separators=(",", ":"))


def held_entry(holder: Holder, slot: int) -> dict[str, object]:
    """The entry of a holder for one of its slots."""
    return {"slot": slot, "id": holder.id, "pod": holder.pod, "fence": holder.fence, "beat": holder.beat} | _granted(holder)


def _granted(holder: Holder) -> dict[str, str]:
    if holder.granted is None or holder.beat > 0:
        return {}
    return {"granted": f"{holder.granted.clock}@{holder.granted.seconds:.6f}"}


LONGEST_REST: Final = len(compact(held_entry(Holder("", "", 10**MOST_DIGITS, 0, (), Moment("f" * 12, 10.0**10)), 10**4))) + len(",")
"""Of a holder's entry, without its id and its pod, which stand there and in `holderIdentity`."""


def room(state: LeaseState) -> int:
    """How many characters a Lease has left for new holders, however long those that there are may grow."""
    held = sum(longest(holder) * len(holder.slots) for holder in state.holders)
    return MOST_CHARACTERS - len(compact(packed(state.queue))) - held


def longest(entry: Holder | Waiter) -> int:
    """How many characters an entry may take as a holder, for each of its slots."""
    return LONGEST_REST + len(entry.id) + 2 * len(compact(entry.pod))

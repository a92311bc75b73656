"""The limits of this machine, or of a pod's node, for people and for programs: pure rendering."""

from collections.abc import Mapping
from typing import Final

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from imagejob_cli.wording import printable
from nodelease import Holder, LeaseState, Waiter

_NONE_HERE: Final = "No limits on this machine. `imagejob run` makes those of its job; `imagejob lease define gpu --slots 1` makes one."
_NONE_ON_NODE: Final = "No limits on this pod's node. A NodeLimit object makes one; `kubectl get nodelimits` lists them."


def limit_table(states: Mapping[str, LeaseState], *, member: bool = False) -> RenderableType:
    """Slots, holders and queue of each limit.

    Args:
        states: The limits by name.
        member: Whether they are those of a cluster's node.
    """
    if not states:
        return Text(_NONE_ON_NODE if member else _NONE_HERE)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("LIMIT", no_wrap=True)
    for number in ("SLOTS", "HELD", "WAITING"):
        table.add_column(number, justify="right", no_wrap=True)
    table.add_column("HOLDERS", overflow="fold")
    table.add_column("QUEUE, NEXT FIRST", overflow="fold")
    for name, state in states.items():
        slots = f"{state.slots}" if state.active else f"{state.slots} (inactive)"
        holders = "\n".join(map(holder_words, state.holders))
        queue = "\n".join(map(_waiter, state.queue))
        table.add_row(printable(name), slots, str(state.held), str(len(state.queue)), holders, queue)
    return table


def as_object(name: str, state: LeaseState) -> dict[str, object]:
    """A limit as `imagejob lease status --json` prints it."""
    return {
        "name": name,
        "slots": state.slots,
        "active": state.active,
        "leaseDurationSeconds": state.duration_seconds,
        "held": state.held,
        "waiting": len(state.queue),
        "grants": state.grants,
        "holders": [{"id": holder.id, "pod": holder.pod, "fence": holder.fence, "slots": list(holder.slots)} for holder in state.holders],
        "queue": [{"id": waiter.id, "pod": waiter.pod, "priority": waiter.priority, "slots": waiter.slots} for waiter in state.queue],
    }


def holder_words(holder: Holder) -> str:
    """`team-a/flowers-0-x7k2p (slot 0)`."""
    return f"{printable(holder.pod)} ({'slot' if len(holder.slots) == 1 else 'slots'} {','.join(map(str, holder.slots))})"


def _waiter(waiter: Waiter) -> str:
    notes = [*([f"priority {waiter.priority}"] if waiter.priority else []), *([f"{waiter.slots} slots"] if waiter.slots > 1 else [])]
    return f"{printable(waiter.pod)} ({', '.join(notes)})" if notes else printable(waiter.pod)

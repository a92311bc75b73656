"""NodeLimits with their slots on each node, for people and for programs: pure rendering."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from imagejob_cli.cluster.as_json import slots_object
from imagejob_cli.cluster.slots import NodeSlots
from imagejob_cli.limits import holder_words
from imagejob_cli.wording import printable
from nodelease import LeaseState, Waiter


@dataclass(frozen=True, slots=True)
class LimitView:
    """A NodeLimit, and what there is of it on each node."""

    name: str
    active: bool | None
    """What its spec says; None if the user may not look."""
    defined: bool | None
    """Whether there is a NodeLimit, which its Leases may outlive for a moment; None if the user may not look."""
    nodes: tuple[NodeSlots, ...]


def limit_views(node_limits: Sequence[Mapping[str, Any]] | None, slots: Sequence[NodeSlots]) -> list[LimitView]:
    """All limits by name.

    Args:
        node_limits: The NodeLimits; None if the user may not look.
        slots: What there is of them on each node.
    """
    nodes = {each.limit: tuple(other for other in slots if other.limit == each.limit) for each in slots}
    if node_limits is None:
        return [LimitView(name, None, None, there) for name, there in sorted(nodes.items())]
    active = {str(found["metadata"]["name"]): (found.get("spec") or {}).get("active") is not False for found in node_limits}
    return [LimitView(name, active.get(name, True), name in active, nodes.get(name, ())) for name in sorted(active.keys() | nodes.keys())]


def limits_table(limits: Sequence[LimitView], *, queue: bool) -> RenderableType:
    """A line for each limit and node: slots, who holds them, who waits.

    Args:
        limits: What there is.
        queue: Whether everybody who waits is named, with the place in the queue.
    """
    if not limits:
        return Text("No NodeLimits in this cluster: apply one, such as\n" + _EXAMPLE)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("LIMIT", no_wrap=True)
    table.add_column("NODE", overflow="fold")
    for number in ("SLOTS", "HELD", "WAITING"):
        table.add_column(number, justify="right", no_wrap=True)
    table.add_column("HOLDERS", overflow="fold")
    if queue:
        table.add_column("QUEUE", overflow="fold")
    for limit in limits:
        for row in _rows(limit):
            table.add_row(*(row if queue else row[:-1]))
    return table


def limits_object(limits: Sequence[LimitView]) -> dict[str, Any]:
    """What `limits --json` prints."""
    return {
        "limits": [
            {"name": limit.name, "active": limit.active, "defined": limit.defined, "nodes": [slots_object(slots) for slots in limit.nodes]}
            for limit in limits
        ]
    }


_EXAMPLE = "  {apiVersion: imagejob.dev/v1alpha1, kind: NodeLimit, metadata: {name: gpu}, spec: {slotsPerDevice: 1}}"


def _rows(limit: LimitView) -> Iterator[list[str]]:
    name = printable(limit.name)
    if not limit.nodes:
        yield [name, "no node has it" if limit.active else "no node has it (inactive)", "", "", "", "", ""]
    for slots in limit.nodes:
        node = printable(slots.node)
        if slots.state is None:
            yield [name, node, "?", "?", "?", f"the Lease cannot be read: {printable(slots.problem)}", ""]
            continue
        yield [name, node, *_figures(limit, slots.state), "\n".join(map(holder_words, slots.state.holders)), "\n".join(_queue(slots.state))]


def _figures(limit: LimitView, state: LeaseState) -> tuple[str, str, str]:
    note = "" if state.active else " (inactive)"
    if limit.defined is False:
        note = " (no NodeLimit)"
    return f"{state.slots}{note}", str(state.held), str(len(state.queue))


def _queue(state: LeaseState) -> Iterator[str]:
    for place, waiter in enumerate(state.queue, start=1):
        notes = _waiter_notes(waiter, state)
        yield f"{place}. {printable(waiter.pod)}{f' ({notes})' if notes else ''}"


def _waiter_notes(waiter: Waiter, state: LeaseState) -> str:
    notes = [f"priority {waiter.priority}"] if waiter.priority else []
    if waiter.slots > 1:
        notes.append(f"wants {waiter.slots} slots")
    if not state.grantable(waiter):
        notes.append("more than there are")
    return ", ".join(notes)

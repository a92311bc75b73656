"""`imagejob lease`: a limit's slots for anything that can be started from a command line."""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
from typing import TYPE_CHECKING, NoReturn

import click

from imagejob_cli.options import duration as duration_type
from imagejob_cli.options import whole_seconds

if TYPE_CHECKING:
    from nodelease import LeaseClient, LeaseState

WATCH_SECONDS = 1.0


@click.group(
    epilog="""\b
Examples:
  imagejob lease define gpu --slots 1
  imagejob lease exec gpu -- python train.py
  imagejob lease status --watch
"""
)
def lease() -> None:
    """Use, make and look at the limits of this machine.

    A limit's slots are shared by all processes of this user on this machine: the ones that `imagejob run` starts and everything under
    `imagejob lease exec`. They live in $IMAGEJOB_RUNTIME_DIR, else $XDG_RUNTIME_DIR/imagejob, else /tmp/imagejob-UID.

    In a pod with $IMAGEJOB_LEASE_NAMESPACE and $IMAGEJOB_NODE_NAME they are the limits of the pod's node, which all pods there share and a
    NodeLimit object makes.
    """


@lease.command(
    "exec",
    epilog="""\b
Examples:
  imagejob lease exec gpu -- python train.py --epochs 3
  imagejob lease exec gpu --slots 2 --timeout 10m -- ./both-gpus.sh
  imagejob lease exec licence -- sh -c 'echo "slot $IMAGEJOB_SLOTS"; solver model.mps'

\b
The command finds in its environment IMAGEJOB_LIMIT, IMAGEJOB_SLOTS (numbers of the slots, as
in 0,1) and IMAGEJOB_FENCE (a number that grows with every grant).
If imagejob itself is killed, the command is killed too, since the slot goes to the next.

\b
Exit codes: the command's own (128 + N if signal N ended it), 124 no slot in time,
126 cannot be executed, 127 no such command, 2 usage, 3 the store cannot be reached.
""",
)
@click.argument("limit")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.option("--slots", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Slots to hold, granted all at once.")
@click.option("--priority", type=int, default=0, show_default=True, metavar="N", help="Place in the queue: higher goes first.")
@click.option(
    "--timeout", type=duration_type, metavar="DURATION", help="Wait at most so long for the slot, as in 30s or 10m. [default: for ever]"
)
@click.option(
    "--on-lost",
    type=click.Choice(["kill", "warn"]),
    default="kill",
    show_default=True,
    help="If the slot is lost while the command runs (this machine slept, the limit was deleted): end the command with SIGTERM and then "
    "SIGKILL, before somebody else is granted the slot; or only say so.",
)
def exec_(limit: str, command: tuple[str, ...], *, slots: int, priority: int, timeout: float | None, on_lost: str) -> int:
    """Run a COMMAND while holding slots of LIMIT.

    Waits in the queue of the limit, runs the command with the signals that imagejob gets, gives the slots to the next in the queue, and
    ends with the command's exit code.
    """
    from imagejob_cli.hold import Order, hold_and_run

    order = Order(limit, command, slots=slots, priority=priority, timeout=timeout, kill_when_lost=on_lost == "kill")
    return asyncio.run(hold_and_run(order))


@lease.command(
    epilog="""\b
Examples:
  imagejob lease define gpu --slots 1
  imagejob lease define scratch-disk --slots 4 --duration 10s
  imagejob lease define gpu --slots 1 --inactive     nobody begins; who holds goes on
"""
)
@click.argument("limit")
@click.option("--slots", type=click.IntRange(min=0), required=True, metavar="N", help="How many may use it at once.")
@click.option(
    "--duration",
    type=whole_seconds,
    metavar="DURATION",
    default="30s",
    show_default=True,
    help="A holder that stands still for so long loses its slot.",
)
@click.option("--max-hold", type=duration_type, metavar="DURATION", help="Longest hold of a step, as a NodeLimit has it.  [default: any]")
@click.option("--max-priority", type=int, metavar="N", help="Highest priority, as a NodeLimit has it.  [default: any]")
@click.option("--active/--inactive", default=True, help="Inactive: no slot is granted to anybody.  [default: active]")
def define(limit: str, *, slots: int, duration: int, max_hold: float | None, max_priority: int | None, active: bool) -> None:
    """Make LIMIT, or change it.

    More slots are granted at once. Fewer take nothing from those who hold. (`imagejob run` does the same with the NodeLimits of its files;
    on a cluster the operator does.)
    """
    from nodelease import Bounds

    with _client() as client:
        bounds = Bounds(math.inf if max_hold is None else max_hold, max_priority)
        client.define(limit, slots=slots, lease_duration_seconds=duration, active=active, bounds=bounds)
        _print_states(client, [limit])


@lease.command(
    short_help="Show who holds, and who waits.",
    epilog="""\b
Examples:
  imagejob lease status
  imagejob lease status gpu --json | jq '.limits[0].waiting'
""",
)
@click.argument("limit", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; with --watch one a second.")
@click.option("--watch", is_flag=True, help="Show it again every second, until Ctrl-C.")
def status(limit: str | None, *, as_json: bool, watch: bool) -> None:
    """Show who holds the limits of this machine, and who waits: all limits, or LIMIT."""
    from imagejob_cli.consoles import output_console

    with _client() as client:
        if watch and not as_json and output_console().is_terminal:
            _watch(client, limit)
        while True:
            _print_states(client, [limit] if limit else client.limits(), as_json=as_json)
            if not watch:
                return
            time.sleep(WATCH_SECONDS)


def _client() -> LeaseClient:
    from nodelease import LeaseClient

    return LeaseClient.kubernetes() if _is_member() else LeaseClient.local("imagejob-lease")


def _is_member() -> bool:
    """Whether the limits are those of a cluster's node."""
    from nodelease.kubernetes.environment import is_member

    return is_member(os.environ)


def _states(client: LeaseClient, names: list[str]) -> dict[str, LeaseState]:
    return {name: client.status(name) for name in names}


def _print_states(client: LeaseClient, names: list[str], *, as_json: bool = False) -> None:
    from imagejob_cli.consoles import output_console
    from imagejob_cli.limits import as_object, limit_table

    states = _states(client, names)
    if as_json:
        print(json.dumps({"limits": [as_object(name, state) for name, state in states.items()]}), flush=True)
    else:
        output_console().print(limit_table(states, member=_is_member()))


def _watch(client: LeaseClient, limit: str | None) -> NoReturn:
    from rich.live import Live

    from imagejob_cli.consoles import output_console
    from imagejob_cli.limits import limit_table

    with Live(console=output_console(), auto_refresh=False) as live:
        while True:
            live.update(limit_table(_states(client, [limit] if limit else client.limits()), member=_is_member()), refresh=True)
            time.sleep(WATCH_SECONDS)

"""`kubectl imagejob limits`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from imagejob_cli.cluster.options import cluster_options, operator_namespace_option

if TYPE_CHECKING:
    from imagejob_cli.cluster.api import Api, Json
    from imagejob_cli.cluster.kubeconfig import Access
    from imagejob_cli.cluster.limits_view import LimitView


@click.command(
    short_help="Show the slots of each node, who holds them, who waits.",
    epilog="""\b
Examples:
  imagejob limits
  imagejob limits gpu --queue
  imagejob limits --json | jq '.limits[] | {name, waiting: [.nodes[].waiting] | add}'
""",
)
@click.argument("name", required=False)
@click.option("--queue", is_flag=True, help="Name everybody who waits, with the place in the queue.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with holders and queues.")
@operator_namespace_option
@cluster_options
def limits(access: Access, name: str | None, *, queue: bool, as_json: bool, operator_namespace: str | None) -> int:
    """Show the NodeLimits of a cluster: slots on each node, who holds them, who waits.

    It is read from the Leases, which say it at once; nobody is asked. A right to list them is enough: without one to list NodeLimits, which
    are in no namespace, those that no node has are left out.
    """
    from imagejob_cli.cluster.limits_view import limits_object, limits_table
    from imagejob_cli.cluster.session import on_cluster
    from imagejob_cli.consoles import output_console
    from imagejob_runner.constants import ExitCode

    async def work(api: Api) -> int:
        found = await _read(api, name, operator_namespace)
        if as_json:
            print(json.dumps(limits_object(found)))
        else:
            output_console().print(limits_table(found, queue=queue))
        return ExitCode.SUCCEEDED

    return on_cluster(access, work)


async def _read(api: Api, name: str | None, operator_namespace: str | None) -> list[LimitView]:
    from imagejob_api.wording import hint
    from imagejob_cli.cluster.exceptions import ForbiddenError, NotFoundError
    from imagejob_cli.cluster.lease_namespace import LEASE_SELECTORS, find_leases
    from imagejob_cli.cluster.limits_view import limit_views
    from imagejob_cli.cluster.resources import LEASE, NODE_LIMIT
    from imagejob_cli.cluster.slots import read_slots
    from imagejob_cli.consoles import message_console
    from imagejob_cli.wording import printable

    messages = message_console()
    node_limits: list[Json] | None = None
    forbidden: ForbiddenError | None = None
    try:
        node_limits = (await api.list(NODE_LIMIT, None, {})).items
    except ForbiddenError as error:
        forbidden = error
    place = await find_leases(api, operator_namespace)
    if place.note:
        messages.print(f"note: {place.note}", soft_wrap=True)
    leases = await api.list(LEASE, place.namespace, LEASE_SELECTORS)
    views = limit_views(node_limits, read_slots(leases.items))
    if forbidden is not None:
        if not views:  # whether there are limits that no node has is all there is to say
            raise forbidden
        messages.print(f"note: only limits that a node has are shown: {forbidden.format_message()}", soft_wrap=True)
    if name is None:
        return views
    chosen = [view for view in views if view.name == name]
    if not chosen:
        missing = f"there is no NodeLimit {printable(name)}" if forbidden is None else f"no node has a limit {printable(name)}"
        raise NotFoundError(f"{missing}; {printable(hint(name, [view.name for view in views]))}")
    return chosen

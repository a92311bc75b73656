"""`kubectl imagejob status`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from imagejob_cli.cluster.options import cluster_options, operator_namespace_option
from imagejob_cli.options import duration

if TYPE_CHECKING:
    from imagejob_cli.cluster.api import Api
    from imagejob_cli.cluster.board import Scope
    from imagejob_cli.cluster.kubeconfig import Access


@click.command(
    short_help="Show how far ImageJobs are, and who has the slots.",
    epilog="""\b
Examples:
  imagejob status                      all jobs of the namespace
  imagejob status demo -w              follow one until it is finished
  imagejob status -A -w                everything that goes on in the cluster
  imagejob status demo --json | jq '.jobs[0].images'

\b
With -w and names the exit code is the job's (the worst of several):
0 succeeded, 1 failed, 4 cancelled or deleted, 5 some images failed within the allowed rate,
124 timeout, 130 detached by Ctrl-C: the job goes on.
""",
)
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("-w", "--watch", is_flag=True, help="Go on showing it until the named jobs are finished; without names until Ctrl-C.")
@click.option("-A", "--all-namespaces", is_flag=True, help="The jobs of all namespaces.")
@click.option("--timeout", type=duration, metavar="DURATION", help="With -w: look away after so long, as in 30m.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; with -w one line for each change.")
@operator_namespace_option
@cluster_options
def status(
    access: Access,
    jobs: tuple[str, ...],
    *,
    watch: bool,
    all_namespaces: bool,
    timeout: float | None,
    as_json: bool,
    operator_namespace: str | None,
) -> int:
    """Show how far ImageJobs are, why one does not run, and who has the slots of each node.

    On a terminal each job has a bar; elsewhere a line. What is shown comes from a watch: nothing is polled.
    """
    from imagejob_cli.cluster.session import on_cluster
    from imagejob_cli.cluster.watching import Watching, say_detached, watch_jobs

    if all_namespaces and (jobs or access.namespace):
        raise click.UsageError("-A is for the jobs of all namespaces: leave out the names and -n.")
    if timeout is not None and not watch:
        raise click.UsageError("--timeout is for -w.")
    names = tuple(dict.fromkeys(jobs))
    how = Watching(access=access, operator_namespace=operator_namespace, as_json=as_json, timeout=timeout)

    async def show(api: Api) -> int:
        scope = _scope(api, names, all_namespaces=all_namespaces)
        return await watch_jobs(api, scope, how) if watch else await _show_once(api, scope, how.operator_namespace, as_json=as_json)

    return on_cluster(access, show, lambda: say_detached(names, access))


def _scope(api: Api, names: tuple[str, ...], *, all_namespaces: bool) -> Scope:
    from imagejob_cli.cluster.board import Scope

    return Scope(None if all_namespaces else api.target.namespace, names)


async def _show_once(api: Api, scope: Scope, operator_namespace: str | None, *, as_json: bool) -> int:
    from imagejob_cli.cluster.as_json import snapshot_object
    from imagejob_cli.cluster.board import Board
    from imagejob_cli.cluster.screens import print_snapshot
    from imagejob_cli.consoles import message_console, output_console
    from imagejob_runner.constants import ExitCode

    board = await Board(api, scope, message_console().print).read(operator_namespace)
    snapshot = board.snapshot()
    if as_json:
        print(json.dumps(snapshot_object(snapshot)))
        if snapshot.slots_note:
            message_console().print(f"note: {snapshot.slots_note}", soft_wrap=True)
    else:
        print_snapshot(output_console(), snapshot, full_names=scope.namespace is None)
    return ExitCode.SUCCEEDED

"""`kubectl imagejob logs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imagejob_cli.cluster.options import cluster_options

if TYPE_CHECKING:
    from imagejob_cli.cluster.api import Api
    from imagejob_cli.cluster.kubeconfig import Access


@click.command(
    short_help="Print what the pods of an ImageJob say.",
    epilog="""\b
Examples:
  imagejob logs demo
  imagejob logs demo -f                 with pods that come, until the job is finished
  imagejob logs demo --index 3 --tail 20
  imagejob logs demo --failed           why pods failed

\b
Ctrl-C ends -f with 130; the job goes on.
""",
)
@click.argument("job")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job is finished, with the pods that come in the meantime.")
@click.option("--index", type=click.IntRange(min=0), metavar="N", help="Only the pods of this index of the work.")
@click.option(
    "--part", type=click.Choice(["plan", "work", "finish"]), help="Only the pods that list the source, work, or write the summary."
)
@click.option("--failed", is_flag=True, help="Only pods that failed.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Of each pod, only the last N lines that are there already.")
@cluster_options
def logs(access: Access, job: str, *, follow: bool, index: int | None, part: str | None, failed: bool, tail: int | None) -> int:
    """Print what the pods of an ImageJob say, each line behind the name of its pod.

    Logs go with their pods: of pods that were deleted there are none.
    """
    from imagejob_cli.cluster.finding import find_job
    from imagejob_cli.cluster.job import JobView
    from imagejob_cli.cluster.log_following import LogRequest, follow_logs, print_logs
    from imagejob_cli.cluster.log_printing import log_printer
    from imagejob_cli.cluster.pods import Wanted
    from imagejob_cli.cluster.session import on_cluster
    from imagejob_cli.cluster.watching import say_detached
    from imagejob_cli.consoles import message_console
    from imagejob_runner.constants import ExitCode

    async def work(api: Api) -> int:
        request = LogRequest(
            job=JobView.of(await find_job(api, api.target.namespace, job)),
            wanted=Wanted(index=index, part=part, failed=failed),
            tail=tail,
            emit=log_printer(),
            say=lambda text: message_console().print(text, soft_wrap=True),
        )
        await (follow_logs if follow else print_logs)(api, request)
        return ExitCode.SUCCEEDED

    return on_cluster(access, work, lambda: say_detached((job,) if follow else (), access))

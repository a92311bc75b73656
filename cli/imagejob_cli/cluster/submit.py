"""`kubectl imagejob submit`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

import click

from imagejob_cli.cluster.options import cluster_options, operator_namespace_option
from imagejob_cli.options import duration, files_option

DryRun = Literal["none", "client", "server"]
_DRY_RUN: Final = {"none": "", "client": " (dry run)", "server": " (server dry run)"}
"""What kubectl says behind each object."""

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagejob_api.documents import Documents
    from imagejob_cli.cluster.api import Api
    from imagejob_cli.cluster.kubeconfig import Access
    from imagejob_cli.cluster.manifests import Manifest


@click.command(
    short_help="Make the objects of some files in a cluster.",
    epilog="""\b
Examples:
  imagejob submit -f job.yaml
  imagejob submit -f pipeline.yaml -f job.yaml -n team-a --wait --timeout 2h
  generate-job | imagejob submit -f - --wait
  imagejob submit -f job.yaml --dry-run=server

\b
With --wait the exit code is the job's (the worst of several):
0 succeeded, 1 failed, 4 cancelled or deleted, 5 some images failed within the allowed rate,
124 timeout, 130 detached by Ctrl-C: the job goes on.
""",
)
@files_option
@click.option("--wait", is_flag=True, help="Follow the jobs until they are finished, as `status -w` does.")
@click.option("--timeout", type=duration, metavar="DURATION", help="With --wait: look away after so long, as in 30m; the job goes on.")
@click.option(
    "--dry-run",
    type=click.Choice([*get_args(DryRun)]),
    is_flag=False,
    flag_value="client",
    default="none",
    show_default=True,
    help="As kubectl's: `client` checks the files and asks the cluster nothing, `server` has the cluster check them, too. Nothing is made.",
)
@operator_namespace_option
@cluster_options
def submit(
    access: Access,
    files: tuple[Path | Literal["-"], ...],
    *,
    wait: bool,
    timeout: float | None,
    dry_run: DryRun,
    operator_namespace: str | None,
) -> int:
    """Check files, and make what they hold in a cluster: ImageJobs, ImagePipelines and NodeLimits.

    Mistakes are told as `imagejob validate` tells them. If one object is refused, none is made. What is there already gets the values of
    the files; of a job that has started, what decides about its rows cannot be changed.
    """
    from imagejob_api.documents import load_documents
    from imagejob_cli.cluster.session import on_cluster
    from imagejob_cli.cluster.watching import Watching, say_detached, watch_jobs
    from imagejob_runner.constants import ExitCode

    if timeout is not None and not wait:
        raise click.UsageError("--timeout is for --wait.")
    if wait and dry_run != "none":
        raise click.UsageError("--dry-run makes no job that --wait could wait for.")
    if operator_namespace is not None and not wait:
        raise click.UsageError("--operator-namespace is for --wait.")
    documents = load_documents(files)
    if not documents.origins:
        raise click.UsageError("the files hold nothing of imagejob's. Name the file with the ImageJob with another -f.")
    names = tuple(job.metadata.name for job in documents.jobs)
    detached: list[Access] = []

    async def work(api: Api) -> int:
        namespace = await _submit(api, documents, access, wait=wait, dry_run=dry_run)
        if not wait:
            return ExitCode.SUCCEEDED
        from imagejob_cli.cluster.board import Scope

        there = replace(access, namespace=namespace)  # a file may say another than the options
        detached.append(there)
        how = Watching(access=there, operator_namespace=operator_namespace, timeout=timeout)
        return await watch_jobs(api, Scope(namespace, names), how)

    def interrupted() -> None:
        for there in detached:
            say_detached(names, there)

    return on_cluster(access, work, interrupted)


async def _submit(api: Api, documents: Documents, access: Access, *, wait: bool, dry_run: DryRun) -> str | None:
    """Makes the objects and says so; returns the namespace of the jobs that are to be waited for."""
    from imagejob_cli.cluster.manifests import Placement, manifests
    from imagejob_cli.cluster.preflight import check_references, look_around, look_nowhere
    from imagejob_cli.cluster.submission import Outcome
    from imagejob_cli.cluster.submission import submit as make
    from imagejob_cli.consoles import message_console
    from imagejob_cli.wording import printable

    objects = manifests(documents, Placement(api.target.namespace, access.namespace))
    namespace = _namespace_to_watch(objects) if wait else None
    messages = message_console()
    around = look_nowhere(objects) if dry_run == "client" else await look_around(api, objects)
    notes = [*documents.ignored, *check_references(objects, around)]
    if dry_run == "client":
        outcomes = [Outcome(found, "is valid") for found in objects]
    else:
        outcomes = await make(api, objects, dry_run=dry_run == "server")
    for outcome in outcomes:
        print(f"{outcome.manifest.title} {outcome.words}{_DRY_RUN[dry_run]}", flush=True)
        notes += outcome.notes
    for note in notes:
        messages.print(f"note: {printable(note)}", soft_wrap=True)
    return namespace


def _namespace_to_watch(objects: Sequence[Manifest]) -> str | None:
    from imagejob_cli.cluster.resources import IMAGE_JOB

    namespaces = {found.namespace for found in objects if found.resource == IMAGE_JOB}
    if len(namespaces) != 1:
        found = f"jobs of the namespaces {', '.join(sorted(map(str, namespaces)))}" if namespaces else "no ImageJob"
        raise click.UsageError(f"--wait is for the jobs of one namespace, and the files hold {found}.")
    return namespaces.pop()

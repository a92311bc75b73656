"""`kubectl imagejob submit`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from imagejob_cli.cluster.options import cluster_options, operator_namespace_option
from imagejob_cli.options import duration, files_option

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

\b
With --wait the exit code is the job's (the worst of several):
0 succeeded, 1 failed, 4 cancelled or deleted, 5 some images failed within the allowed rate,
124 timeout, 130 detached by Ctrl-C: the job goes on.
""",
)
@files_option
@click.option("--wait", is_flag=True, help="Follow the jobs until they are finished, as `status -w` does.")
@click.option("--timeout", type=duration, metavar="DURATION", help="With --wait: look away after so long, as in 30m; the job goes on.")
@operator_namespace_option
@cluster_options
def submit(
    access: Access, files: tuple[Path | Literal["-"], ...], *, wait: bool, timeout: float | None, operator_namespace: str | None
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
    if operator_namespace is not None and not wait:
        raise click.UsageError("--operator-namespace is for --wait.")
    documents = load_documents(files)
    if not documents.origins:
        raise click.UsageError("the files hold nothing of imagejob's. Name the file with the ImageJob with another -f.")
    names = tuple(job.metadata.name for job in documents.jobs)
    detached: list[Access] = []

    async def work(api: Api) -> int:
        namespace = await _submit(api, documents, access, wait=wait)
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


async def _submit(api: Api, documents: Documents, access: Access, *, wait: bool) -> str | None:
    """Makes the objects and says so; returns the namespace of the jobs that are to be waited for."""
    from imagejob_cli.cluster.manifests import Placement, manifests
    from imagejob_cli.cluster.preflight import check_references, look_around
    from imagejob_cli.cluster.submission import submit as make
    from imagejob_cli.consoles import message_console
    from imagejob_cli.wording import printable

    objects = manifests(documents, Placement(api.target.namespace, access.namespace))
    namespace = _namespace_to_watch(objects) if wait else None
    messages = message_console()
    notes = [*documents.ignored, *check_references(objects, await look_around(api, objects))]
    for outcome in await make(api, objects):
        print(f"{outcome.manifest.title} {outcome.words}", flush=True)
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

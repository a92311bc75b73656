"""`kubectl imagejob suspend`, `resume` and `cancel`: one field of the spec each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imagejob_cli.cluster.options import cluster_options

if TYPE_CHECKING:
    from imagejob_cli.cluster.kubeconfig import Access
    from imagejob_cli.cluster.switching import Switch


@click.command(
    epilog="""\b
Examples:
  imagejob suspend demo
  imagejob suspend demo flowers -n team-a
"""
)
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@cluster_options
def suspend(access: Access, jobs: tuple[str, ...]) -> int:
    """Stop the pods of ImageJobs for now.

    Batches at work are finished, what is whole is committed and the slots are given back. `imagejob resume` goes on.
    """
    from imagejob_cli.cluster.switching import SUSPEND

    return _switch(access, jobs, SUSPEND)


@click.command(
    epilog="""\b
Examples:
  imagejob resume demo
  imagejob resume demo && imagejob status demo -w
"""
)
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@cluster_options
def resume(access: Access, jobs: tuple[str, ...]) -> int:
    """Let suspended ImageJobs go on where they stopped.

    The exit code is 4 if a job was cancelled, which cannot be taken back.
    """
    from imagejob_cli.cluster.switching import RESUME

    return _switch(access, jobs, RESUME)


@click.command(
    epilog="""\b
Examples:
  imagejob cancel demo
  imagejob cancel demo && imagejob status demo -w
"""
)
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@cluster_options
def cancel(access: Access, jobs: tuple[str, ...]) -> int:
    """End ImageJobs for good.

    Batches at work are finished, what is whole is committed and stays. Another ImageJob with the same output goes on from there.
    """
    from imagejob_cli.cluster.switching import CANCEL

    return _switch(access, jobs, CANCEL)


def _switch(access: Access, jobs: tuple[str, ...], switch: Switch) -> int:
    from imagejob_cli.cluster.session import on_cluster
    from imagejob_cli.cluster.switching import switch_jobs

    return on_cluster(access, lambda api: switch_jobs(api, tuple(dict.fromkeys(jobs)), switch))

"""The output of an ImageJob, for `verify`."""

from collections.abc import Mapping
from typing import Any

from imagejob_cli.cluster.api import Api
from imagejob_cli.cluster.exceptions import ClusterError
from imagejob_cli.cluster.finding import find_job
from imagejob_cli.cluster.job import JobView
from imagejob_cli.cluster.kubeconfig import Access
from imagejob_cli.cluster.reachability import why_unreachable
from imagejob_cli.cluster.session import on_cluster
from imagejob_cli.consoles import message_console
from imagejob_cli.wording import printable
from imagejob_runner.constants import ExitCode


def output_of(access: Access, name: str) -> tuple[str, Mapping[str, Any]] | None:
    """URL of a job's output, and the job's spec; None if the user interrupted.

    Raises:
        ClusterError: There is no such job, or its output cannot be reached from here.
    """
    found: list[Mapping[str, Any]] = []

    async def work(api: Api) -> int:
        found.append(await find_job(api, api.target.namespace, name))
        return ExitCode.SUCCEEDED

    if on_cluster(access, work) != ExitCode.SUCCEEDED:
        return None
    job, spec = JobView.of(found[0]), found[0]["spec"]
    why = why_unreachable(job.output, spec)
    if why is not None:
        raise ClusterError(f"the output {printable(job.output)} of {printable(name)} cannot be verified from here: {why}")
    if job.finished is None:
        message_console().print(f"note: {printable(name)} is not finished; rows that are not there yet are missing.", soft_wrap=True)
    return job.output, spec

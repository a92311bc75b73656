"""What `status --watch` and `submit --wait` have in common: jobs are shown until they are finished, with a word about how it ended."""

import asyncio
from dataclasses import dataclass

from imagejob_cli.cluster.api import Api
from imagejob_cli.cluster.board import Board, Scope
from imagejob_cli.cluster.conclusion import conclusion, detached
from imagejob_cli.cluster.follow import follow
from imagejob_cli.cluster.kubeconfig import Access
from imagejob_cli.cluster.screens import screen_for
from imagejob_cli.consoles import message_console, output_console
from imagejob_runner.constants import ExitCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """How jobs are watched."""

    access: Access
    """What the options say about the cluster; for commands that are printed to be copied."""
    operator_namespace: str | None = None
    """Where the Leases are, if the user said so."""
    as_json: bool = False
    """One line of JSON for each change."""
    timeout: float | None = None
    """Seconds after which the user wants to go on with something else."""


async def watch_jobs(api: Api, scope: Scope, how: Watching) -> int:
    """Shows jobs until those that were named are finished.

    Returns:
        The exit code of the job that ended worst, or that of a timeout.

    Raises:
        ClusterError: The jobs cannot be watched.
    """
    results, messages = output_console(), message_console()
    screen = screen_for(results, messages, full_names=scope.namespace is None, as_json=how.as_json)
    board = await Board(api, scope, screen.note).read(how.operator_namespace)
    try:
        with screen:
            async with asyncio.timeout(how.timeout):
                code = await follow(board, screen)
    except TimeoutError:
        messages.print(f"Not finished after {how.timeout:g} s.", soft_wrap=True)
        say_detached(scope.names, how.access)
        return ExitCode.TIMEOUT
    if not how.as_json:
        last = board.snapshot()
        for job in last.jobs:
            for line in conclusion(job, how.access, deleted=job.name in last.missing):
                results.print(line, soft_wrap=True)
    return code


def say_detached(names: tuple[str, ...], access: Access) -> None:
    """Tells on standard error how to come back to jobs that go on; nothing where all jobs were looked at."""
    if names:
        messages = message_console()
        for line in detached(names, access):
            messages.print(line, soft_wrap=True)

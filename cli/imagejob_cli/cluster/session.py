"""One command's work on a cluster: from its options to its exit code, whatever interrupts it."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

from imagejob_cli.cluster.api import Api
from imagejob_cli.cluster.kubeconfig import Access, choose_target
from imagejob_runner.constants import ExitCode

Work = Callable[[Api], Awaitable[int]]


def on_cluster(access: Access, work: Work, interrupted: Callable[[], None] = lambda: None) -> int:
    """Does some work on the cluster that is meant.

    Args:
        access: What the options say.
        work: What to do; returns the exit code. Ctrl-C and SIGTERM cancel it.
        interrupted: Called when it has been cancelled.

    Returns:
        The exit code.

    Raises:
        ClusterError: The cluster cannot be used.
    """
    target = choose_target(access)

    async def supervised() -> int:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel if task is not None else loop.stop)
        async with Api(target) as api:
            return await work(api)

    try:
        return asyncio.run(supervised())
    except asyncio.CancelledError:
        interrupted()
        return ExitCode.INTERRUPTED

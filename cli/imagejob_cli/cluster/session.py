"""One command's work on a cluster: from its options to its exit code, whatever interrupts it."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final

from imagejob_cli.cluster.api import Api
from imagejob_cli.cluster.kubeconfig import Access, choose_target
from imagejob_cli.constants import SIGNAL_EXIT_BASE
from imagejob_runner.constants import ExitCode

Work = Callable[[Api], Coroutine[Any, Any, int]]

_OUTPUT_CLOSED: Final = SIGNAL_EXIT_BASE + signal.SIGPIPE
"""As of a program that is ended by it, as in `kubectl imagejob logs demo | head`."""


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
        async with Api(target) as api:
            task = asyncio.create_task(work(api))
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
            return await task

    code: int = _OUTPUT_CLOSED
    try:
        try:
            code = asyncio.run(supervised())
        except* BrokenPipeError:  # whoever read what is printed has read enough
            pass
    except asyncio.CancelledError:
        interrupted()
        code = ExitCode.INTERRUPTED
    return code

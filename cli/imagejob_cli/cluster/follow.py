"""Follows jobs by a watch until they are finished."""

import asyncio
from collections.abc import Sequence
from typing import Final

from imagejob_cli.cluster.board import Board, Snapshot
from imagejob_cli.cluster.exceptions import ClusterError
from imagejob_cli.cluster.screens import Screen
from imagejob_cli.codes import worst
from imagejob_runner.constants import ExitCode

_DRAW_SECONDS: Final = 0.1
"""Changes that come closer together are drawn as one."""


async def follow(board: Board, screen: Screen) -> int:
    """Shows the jobs until all that were named are finished; without names for ever.

    Args:
        board: The jobs, read once.
        screen: Where they are shown.

    Returns:
        The exit code of the job that ended worst.

    Raises:
        ClusterError: The cluster has refused to be watched, or has not answered for a long time.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            watches = [tasks.create_task(mirror.follow()) for mirror in board.mirrors()]
            code = await _until_finished(board, screen)
            for watch in watches:
                watch.cancel()
            return code
    except* ClusterError as errors:
        raise first_error(errors) from None


async def _until_finished(board: Board, screen: Screen) -> int:
    while True:
        snapshot = board.snapshot()
        screen.draw(snapshot)
        if (code := verdict(snapshot, board.scope.names)) is not None:
            return code
        try:
            async with asyncio.timeout(screen.tick):
                await board.change()
        except TimeoutError:
            continue
        await asyncio.sleep(_DRAW_SECONDS)


def verdict(snapshot: Snapshot, names: Sequence[str]) -> int | None:
    """The exit code once all named jobs are finished or deleted; None before, and without names."""
    if not names:
        return None
    codes = [ExitCode.CANCELLED if job.exit_code is None and job.name in snapshot.missing else job.exit_code for job in snapshot.jobs]
    ended = [code for code in codes if code is not None]
    return worst(ended) if len(ended) == len(codes) else None


def first_error(errors: BaseExceptionGroup[ClusterError]) -> ClusterError:
    """One of them: they are about one cluster, and say the same."""
    found = errors.exceptions[0]
    return first_error(found) if isinstance(found, BaseExceptionGroup) else found

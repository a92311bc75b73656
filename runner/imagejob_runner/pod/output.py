"""The output of a pod's job, once it can be written to; and what the pod says while it cannot."""

import asyncio
import logging
import random
from typing import Final

from imagejob_api.pod import ANNOTATION_PROGRESS, PodProgress
from imagejob_runner.constants import PLAN_FILE
from imagejob_runner.exceptions import StorageAwayError, StorageError, StorageRefusedError
from imagejob_runner.pod.context import Context
from imagejob_runner.pod.own_pod import ReportError
from imagejob_runner.pod.reporter import own_pod
from imagejob_runner.storage import OutputStore, open_output
from imagejob_runner.storage.writable import until_writable

PATIENCE_SECONDS: Final = 600.0
"""So long a pod waits for a storage that is away. Then it ends, which counts as an attempt: another node may have a better network."""
_PROMPT_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)


async def writable_output(context: Context, *, planned: bool) -> OutputStore:
    """The output, once it can be written to: a wrong bucket or wrong credentials must be told before anything is computed.

    Once the job is planned it could be written to: a refusal then counts as an attempt, and ends no job.

    Args:
        context: The pod's.
        planned: Whether the job is known to be planned; otherwise the output is asked.

    Raises:
        StorageRefusedError: It cannot be written to as the job is, and the job is not planned yet.
        StorageAwayError: Its storage was away for longer than pods wait, or refuses though the job is planned.
        StoppedError: A signal came first.
        InvalidJobError: The job's URL cannot be an output.
    """
    output = open_output(context.job.spec.output.url)
    told = _Told(context)
    try:
        await context.stop.or_else(until_writable(output, PATIENCE_SECONDS, told.away))
    except StorageRefusedError as error:
        if not (planned or await context.stop.or_else(_holds_plan(output))):
            raise
        raise StorageAwayError(str(error)) from error
    finally:
        await told.over()
    return output


async def _holds_plan(output: OutputStore) -> bool:
    """Whether there is a plan. Where nothing may be read either, nothing speaks for one."""
    try:
        async with asyncio.timeout(_PROMPT_SECONDS):
            return await output.read(PLAN_FILE) is not None
    except (StorageError, TimeoutError):
        return False


class _Told:
    """What the operator is told of a storage that is away."""

    def __init__(self, context: Context) -> None:
        self._pod = own_pod(context.pod)
        # As many pods as a job may have must not all write at once; the first one that is heard is enough.
        spread = max(0.0, context.pod.progress_seconds - _PROMPT_SECONDS)
        self._pause = random.uniform(0, spread)  # noqa: S311  spreads load, guards nothing
        self._said = ""

    async def away(self, why: str) -> None:
        """The storage is away."""
        if why == self._said:
            return
        logger.warning("Waiting for the output: %s", why)
        await asyncio.sleep(self._pause)
        self._pause = 0.0
        self._said = why
        await self._annotate(PodProgress(storage=why[:512]))

    async def over(self) -> None:
        """It is back, or the pod ends."""
        if self._said:
            await self._annotate(PodProgress())
        if self._pod is not None:
            await self._pod.close()

    async def _annotate(self, progress: PodProgress) -> None:
        if self._pod is None:
            return
        try:
            await self._pod.annotate(ANNOTATION_PROGRESS, progress.encoded())
        except ReportError as error:
            logger.warning("That the output is away cannot be reported: %s", error)

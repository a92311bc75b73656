"""Reports of progress, on the pod's own annotation: seldom, only of what has changed, and never a reason for the work to fail."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from imagejob_api.pod import ANNOTATION_PROGRESS, PodProgress
from imagejob_runner.pod.environment import PodEnvironment
from imagejob_runner.pod.own_pod import OwnPod, ReportError
from nodelease.kubernetes.access import find_access

logger = logging.getLogger(__name__)


class Target(Protocol):
    """What takes the reports: `OwnPod`."""

    async def annotate(self, key: str, value: str) -> None:
        """Sets one annotation, or raises `ReportError`."""

    async def close(self) -> None:
        """Closes the connection."""


class Reporter:
    """Reports how far a pod is.

    Args:
        target: What takes the reports; None where there is no pod to report on.
        seconds: Least time between two reports.
        progress: Tells how far the pod is.
    """

    def __init__(self, target: Target | None, seconds: float, progress: Callable[[], PodProgress]) -> None:
        self._target, self._seconds, self._progress = target, seconds, progress
        self._sent: PodProgress | None = None
        self._warned = False

    async def run(self) -> None:
        """Reports until it is cancelled."""
        while self._target is not None:
            pause = await self._report(self._target)
            await asyncio.sleep(max(self._seconds, pause))

    async def close(self) -> None:
        """Reports once more."""
        if self._target is not None:
            await self._report(self._target)
            await self._target.close()

    async def _report(self, target: Target) -> float:
        progress = self._progress()
        if progress == self._sent:
            return 0.0
        try:
            await target.annotate(ANNOTATION_PROGRESS, progress.encoded())
        except ReportError as error:
            if not self._warned:
                self._warned = True
                logger.warning("Progress cannot be reported, and the work goes on without: %s", error)
            return error.pause
        self._sent, self._warned = progress, False
        return 0.0


def own_pod(pod: PodEnvironment) -> OwnPod | None:
    """The pod that this process is in; None outside of pods."""
    return OwnPod(find_access(), pod.namespace, pod.name) if pod.namespace and pod.name else None

"""Reports of progress, on the pod's own annotation: seldom, only of what has changed, and never a reason for the work to fail."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from imagejob_api.pod import ANNOTATION_PROGRESS, PodProgress
from imagejob_runner.pipeline.turn import now
from imagejob_runner.pod.environment import PodEnvironment
from imagejob_runner.pod.own_pod import OwnPod, ReportError
from nodelease.kubernetes.access import find_access

UNKNOWN_SECONDS: Final = 10.0
"""So long the API server may not know the pod's token before that is believed."""

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
        on_unknown: Called when the API server has not known the pod's token for `UNKNOWN_SECONDS`. The kubelet replaces tokens by their age
            only, so a pod whose service account was deleted and made again has no valid one for most of an hour, and no slot either.
    """

    def __init__(
        self, target: Target | None, seconds: float, progress: Callable[[], PodProgress], on_unknown: Callable[[], None] = lambda: None
    ) -> None:
        self._target, self._seconds, self._progress, self._on_unknown = target, seconds, progress, on_unknown
        self._sent: PodProgress | None = None
        self._warned = False
        self._unknown_since: float | None = None

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
            self._note(unknown=error.unknown)
            return error.pause
        self._sent, self._warned = progress, False
        self._note(unknown=False)
        return 0.0

    def _note(self, *, unknown: bool) -> None:
        if not unknown:
            self._unknown_since = None
        elif self._unknown_since is None:
            self._unknown_since = now()
        elif now() - self._unknown_since >= UNKNOWN_SECONDS:
            logger.warning("The API server does not know this pod's token any more; was its service account deleted? Another pod goes on")
            self._on_unknown()


def own_pod(pod: PodEnvironment) -> OwnPod | None:
    """The pod that this process is in; None outside of pods."""
    return OwnPod(find_access(), pod.namespace, pod.name) if pod.namespace and pod.name else None

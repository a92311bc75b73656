"""The logs of a job's pods together: of those that are there, and, if wanted, of those that come."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from imagejob_api.pod import LABEL_JOB
from imagejob_cli.cluster import words
from imagejob_cli.cluster.api import Api
from imagejob_cli.cluster.exceptions import ClusterError, ForbiddenError, UnauthorizedError, UnreachableError
from imagejob_cli.cluster.follow import first_error
from imagejob_cli.cluster.job import JobView
from imagejob_cli.cluster.log_stream import followed_lines, log_lines
from imagejob_cli.cluster.mirror import Mirror, Selection
from imagejob_cli.cluster.pods import PodView, Wanted, wanted_pods
from imagejob_cli.cluster.resources import IMAGE_JOB, POD

_STREAMS: Final = 50
"""Logs read at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRequest:
    """What is asked for."""

    job: JobView
    """The job, as it is now."""
    wanted: Wanted
    """Which of its pods."""
    tail: int | None
    """Only so many lines of what is there already."""
    emit: Callable[[str, str], None]
    """Takes a pod's name and a line of its log."""
    say: Callable[[str], None]
    """Takes what is said along the way."""

    @property
    def pods(self) -> Selection:
        """The job's pods."""
        return Selection(POD, self.job.namespace, {"labelSelector": f"{LABEL_JOB}={self.job.name}"})


async def print_logs(api: Api, request: LogRequest) -> None:
    """The logs of the pods that are there, one after the other."""
    selection = request.pods
    listing = await api.list(selection.resource, selection.namespace, selection.selectors)
    pods = wanted_pods(listing.items, request.wanted)
    if not pods:
        request.say(_none(request, len(listing.items)))
    for pod in pods:
        if not pod.started:
            request.say(f"{pod.name} has no log: {pod.hindrance}")
            continue
        try:
            async for line in log_lines(api, request.job.namespace, pod.name, tail=request.tail):
                request.emit(pod.name, line)
        except (ForbiddenError, UnauthorizedError):
            raise
        except ClusterError as error:
            request.say(f"{pod.name}: {error.format_message()}")


async def follow_logs(api: Api, request: LogRequest) -> None:
    """The logs of all pods as they are written, until the job is finished or deleted and they have been read.

    Raises:
        ClusterError: The pods cannot be watched, or their logs not be read.
    """
    try:
        await _Following(api, request).run()
    except* ClusterError as errors:
        raise first_error(errors) from None


class _Following:
    """The streams of one `follow_logs`."""

    def __init__(self, api: Api, request: LogRequest) -> None:
        self._api, self._request = api, request
        self._changed = asyncio.Event()
        self._pods = Mirror(api, request.pods, self._changed.set, request.say)
        name = request.job.name
        self._job = Mirror(
            api, Selection(IMAGE_JOB, request.job.namespace, {"fieldSelector": f"metadata.name={name}"}), self._changed.set, request.say
        )
        self._streams: dict[str, asyncio.Task[None]] = {}
        self._told: set[tuple[str, str]] = set()
        self._room = asyncio.Semaphore(_STREAMS)

    async def run(self) -> None:
        await self._job.list()
        await self._pods.list()
        async with asyncio.TaskGroup() as tasks:
            watches = [tasks.create_task(mirror.follow()) for mirror in (self._job, self._pods)]
            while True:
                self._changed.clear()
                self._begin(tasks)
                if self._over() and all(stream.done() for stream in self._streams.values()):
                    break
                await self._changed.wait()
            for watch in watches:
                watch.cancel()
        if not self._streams:
            self._request.say(_none(self._request, len(self._pods.objects)))

    def _begin(self, tasks: asyncio.TaskGroup) -> None:
        """Begins with the pods that are new, and says why those that wait do."""
        for pod in wanted_pods(self._pods.objects.values(), self._request.wanted):
            if pod.started and pod.name not in self._streams:
                stream = tasks.create_task(self._stream(pod))
                stream.add_done_callback(lambda _: self._changed.set())
                self._streams[pod.name] = stream
            elif not pod.started and (pod.name, pod.hindrance) not in self._told:
                self._told.add((pod.name, pod.hindrance))
                self._request.say(f"{pod.name} has not started: {pod.hindrance}")

    async def _stream(self, pod: PodView) -> None:
        namespace, tail = self._request.job.namespace, self._request.tail

        def say(text: str) -> None:
            self._request.say(f"{pod.name}: {text}")

        async with self._room:
            try:
                async for line in followed_lines(self._api, namespace, pod.name, tail=tail, say=say):
                    self._request.emit(pod.name, line)
            except UnreachableError as error:
                say(f"the rest of its log cannot be read: {error.format_message()}")

    def _over(self) -> bool:
        """Whether no more pods come."""
        jobs = [JobView.of(found) for found in self._job.objects.values()]
        return all(job.finished is not None for job in jobs)


def _none(request: LogRequest, others: int) -> str:
    """Why there is no log."""
    if others:
        return f"None of the {others} pods of {request.job.name} is asked for by --index, --part and --failed."
    why = "; ".join(words.hindrances(request.job))
    return f"{request.job.name} has no pods now, and logs go with their pods{f'. {why}' if why else '.'}"

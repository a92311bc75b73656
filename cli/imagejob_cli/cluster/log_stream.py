"""The log of one pod, line by line, without gaps or doubles when the connection breaks."""

import asyncio
from collections.abc import AsyncIterator

from imagejob_api.pod import RUNNER_CONTAINER
from imagejob_cli.cluster.api import Api
from imagejob_cli.cluster.constants import RETRY_FIRST_SECONDS, RETRY_LAST_SECONDS
from imagejob_cli.cluster.exceptions import NotFoundError, UnreachableError
from imagejob_cli.cluster.pods import PodView
from imagejob_cli.cluster.resources import POD

_NANOSECOND_DIGITS = 9


async def log_lines(api: Api, namespace: str, pod: str, *, follow: bool, tail: int | None) -> AsyncIterator[str]:
    """The lines of a pod's log, without line ends.

    Args:
        api: The cluster.
        namespace: Of the pod.
        pod: Its name; its container has started.
        follow: Go on until the container has ended.
        tail: Only so many lines of those that are there already.

    Raises:
        ClusterError: The log cannot be read. Who follows it is spared what another attempt may mend.
    """
    query = {"container": RUNNER_CONTAINER, "timestamps": "true", **({"tailLines": str(tail)} if tail is not None else {})}
    if not follow:
        async for line in api.log(namespace, pod, query):
            yield split_line(line)[1]
        return
    seen, backoff = Seen(), RETRY_FIRST_SECONDS
    while True:
        try:
            async for line in api.log(namespace, pod, {**query, "follow": "true"}):
                time, text = split_line(line)
                if seen.is_new(time):
                    yield text
                    backoff = RETRY_FIRST_SECONDS
            if await _has_ended(api, namespace, pod):
                return
        except NotFoundError:
            return
        except UnreachableError:
            pass
        await asyncio.sleep(backoff)
        backoff = min(RETRY_LAST_SECONDS, 2 * backoff)
        if since := seen.resume():  # the kubelet counts whole seconds, so some lines come again
            query = {"container": RUNNER_CONTAINER, "timestamps": "true", "sinceTime": since}


class Seen:
    """Which lines of a log were given out before its stream broke; several may have one time."""

    def __init__(self) -> None:
        self._last = ""
        self._at_last = 0
        self._again = 0
        self._resumed = False

    def resume(self) -> str:
        """The stream begins anew; returns the time of the last line, empty if there was none."""
        self._again, self._resumed = self._at_last, bool(self._last)
        return self._last

    def is_new(self, time: str) -> bool:
        """Whether a line of this time has not been given out; it counts as given out from now on."""
        if self._resumed:
            if sortable(time) < sortable(self._last):
                return False
            if time == self._last and self._again:
                self._again -= 1
                return False
            self._resumed = False
        self._at_last = self._at_last + 1 if time == self._last else 1
        self._last = time
        return True


async def _has_ended(api: Api, namespace: str, pod: str) -> bool:
    return PodView.of(await api.get(POD, namespace, pod)).ended


def split_line(line: bytes) -> tuple[str, str]:
    """Time and text of a line, as the kubelet gives them."""
    time, _, text = line.decode(errors="replace").rstrip("\r").partition(" ")
    return time, text


def sortable(time: str) -> str:
    """A time such as ``2026-05-04T10:00:00.12Z``, whose fraction has as many digits as it needs, in a form that sorts."""
    whole, _, fraction = time.removesuffix("Z").partition(".")
    return f"{whole}.{fraction.ljust(_NANOSECOND_DIGITS, '0')}" if whole else ""

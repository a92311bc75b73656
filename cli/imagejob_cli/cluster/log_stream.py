"""The log of one pod, line by line, without gaps or doubles when the connection breaks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from imagejob_api.pod import RUNNER_CONTAINER
from imagejob_cli.cluster.api import Api
from imagejob_cli.cluster.constants import RETRY_FIRST_SECONDS, RETRY_LAST_SECONDS
from imagejob_cli.cluster.exceptions import NotFoundError, UnreachableError
from imagejob_cli.cluster.pods import PodView
from imagejob_cli.cluster.resources import POD

_NANOSECOND_DIGITS: Final = 9
_WORTH_A_WORD: Final = 2
"""So often in a row must it fail before anything is said: streams break now and then, and go on at once."""
_LAST_ATTEMPTS: Final = 5
"""So often in a row is the log of a pod asked for that has ended: its node may have gone, and the pod stayed."""


async def log_lines(api: Api, namespace: str, pod: str, *, tail: int | None) -> AsyncIterator[str]:
    """The lines of a pod's log that are there, without line ends.

    Args:
        api: The cluster.
        namespace: Of the pod.
        pod: Its name; its container has started.
        tail: Only the last so many.

    Raises:
        ClusterError: The log cannot be read.
    """
    async for line in api.log(namespace, pod, _query(tail)):
        yield split_line(line)[1]


async def followed_lines(api: Api, namespace: str, pod: str, *, tail: int | None, say: Callable[[str], None]) -> AsyncIterator[str]:
    """The lines of a pod's log until its container has ended, without line ends. What another attempt may mend is mended.

    Args:
        api: The cluster.
        namespace: Of the pod.
        pod: Its name; its container has started.
        tail: Only so many lines of those that are there already.
        say: Called with words when nobody answers.

    Raises:
        ClusterError: The log cannot be read.
        UnreachableError: Nobody answers for the rest of the log of a pod that has ended.
    """
    query = _query(tail)
    seen, backoff, failures = Seen(), RETRY_FIRST_SECONDS, 0
    while True:
        try:
            async for line in api.log(namespace, pod, {**query, "follow": "true"}):
                time, text = split_line(line)
                if seen.is_new(time):
                    yield text
                    backoff, failures = RETRY_FIRST_SECONDS, 0
            if await _has_ended(api, namespace, pod):
                return
        except NotFoundError:
            return
        except UnreachableError as error:
            failures += 1
            if failures == _WORTH_A_WORD:
                say(f"{error.format_message()}. Trying again.")
            if failures >= _LAST_ATTEMPTS and await _has_ended(api, namespace, pod):
                raise
        await asyncio.sleep(backoff)
        backoff = min(RETRY_LAST_SECONDS, 2 * backoff)
        if since := seen.resume():  # the kubelet counts whole seconds, so some lines come again
            query = {**_query(None), "sinceTime": since}


def _query(tail: int | None) -> dict[str, str]:
    return {"container": RUNNER_CONTAINER, "timestamps": "true", **({"tailLines": str(tail)} if tail is not None else {})}


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
    """Whether nothing more comes of it; False if nobody can say that now."""
    try:
        return PodView.of(await api.get(POD, namespace, pod)).ended
    except NotFoundError:
        return True
    except UnreachableError:
        return False


def split_line(line: bytes) -> tuple[str, str]:
    """Time and text of a line, as the kubelet gives them."""
    time, _, text = line.decode(errors="replace").rstrip("\r").partition(" ")
    return time, text


def sortable(time: str) -> str:
    """A time such as ``2026-05-04T10:00:00.12Z``, whose fraction has as many digits as it needs, in a form that sorts."""
    whole, _, fraction = time.removesuffix("Z").partition(".")
    return f"{whole}.{fraction.ljust(_NANOSECOND_DIGITS, '0')}" if whole else ""

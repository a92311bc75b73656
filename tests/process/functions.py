"""Functions for the `call` steps of whole runs: what users write, and what users get wrong."""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

from imagejob_runner.exceptions import ImageError, SkipImage
from imagejob_runner.item import ImageItem
from tests.process.crashing import die_at

SHARED: dict[str, str] = {}
"""What a function returns again and again."""


def note(item: ImageItem, log: str, seconds: float = 0.0) -> dict[str, str]:
    """Works for a while and writes down that it did, in a way that a kill cannot take back."""
    time.sleep(seconds)
    append(log, item.id)
    return {"seen": item.id}


def note_at_pace(item: ImageItem, log: str, pace: str) -> dict[str, str]:
    """As `note`; a file says how many seconds it takes, so that a test can change its mind."""
    append(f"{log}.begun", item.id)
    return note(item, log, float(Path(pace).read_text()))


def meet(item: ImageItem, begun: str, gate: str) -> str:
    """Writes down which process has begun, and lets no image go on before a file is there."""
    append(begun, str(os.getpid()))
    while not Path(gate).exists():
        time.sleep(0.01)
    return item.id


def die_at_commit(item: ImageItem, log: str, point: int) -> dict[str, str]:
    """Has the runner killed, once in a job, before (0) or after (1) the first chunk of it becomes visible."""
    if first_time(f"{log}.died"):
        die_at(point)
    return note(item, log)


def exit_process(item: ImageItem, marker: str, victim: str) -> None:
    """Takes the whole runner down when it meets a certain image: each time, or only once if a marker is given."""
    if item.id == victim and (not marker or first_time(marker)):
        os._exit(1)


def fail_each(item: ImageItem, log: str, every: int, seconds: float) -> str:
    """Fails for each n-th image, after a while."""
    time.sleep(seconds)
    append(log, item.id)
    if int(item.id.rpartition("-")[2]) % every == 0:
        raise ValueError("no luck with this number")
    return item.id


def misbehave(item: ImageItem, log: str) -> Any:  # noqa: ANN401, C901, PLR0911, PLR0912  one trouble each
    """Gets wrong what the id says."""
    append(log, item.id)
    match item.id:
        case "nan":
            return {"score": float("nan")}
        case "infinity inside":
            item.outputs["mine"] = [1, float("inf")]
        case "object":
            return object()
        case "half a surrogate":
            return "\ud83d"
        case "number as key":
            return {1: "one"}
        case "nothing":
            return None
        case "added by itself":
            item.outputs["mine"] = {"found": True}
        case "one of two" | "two of two":
            SHARED.update(id=item.id)
            return SHARED
        case "skip":
            raise SkipImage("it is blurred")
        case "raises":
            raise ValueError("cannot do this")
        case "raises once":
            if first_time(f"{log}.{item.id}"):
                raise ConnectionError("try again")
        case "image error":
            raise ImageError("TooDark", "there is nothing to see")
        case "image error, worth another try":
            raise ImageError("CameraBusy", "not yet", retryable=True)
        case "stop iteration":
            return next(iter(()))
        case "system exit":
            sys.exit("I am done here")
        case "cancelled":
            raise asyncio.CancelledError
        case "too slow":
            append(f"{log}.slow", "enter")
            time.sleep(1.5)
            append(f"{log}.slow", "leave")
        case "assertion":
            raise AssertionError
    return {"fine": item.id}


async def misbehave_async(item: ImageItem, log: str) -> Any:  # noqa: ANN401  as misbehave
    """As `misbehave`, on the event loop."""
    if item.id == "too slow":
        append(log, item.id)
        await asyncio.sleep(100)
    await asyncio.sleep(0)
    return misbehave(item, log)


def returns_awaitable(item: ImageItem, log: str) -> Any:  # noqa: ANN401  an awaitable of what misbehave_async returns
    """A plain function that returns an awaitable, as a decorated coroutine function often is."""
    return misbehave_async(item, log)


def append(log: str, line: str) -> None:
    """Adds a line to a file that many processes write to: O_APPEND keeps short ones whole."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def first_time(marker: str) -> bool:
    """Whether nobody has asked for this marker before, in whatever process."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

"""Functions for the `call` steps of whole runs: what users write, and what users get wrong."""

import os
import time

from imagejob_runner.item import ImageItem

from tests.process.crashing import die_at


def note(item: ImageItem, log: str, seconds: float = 0.0) -> dict[str, str]:
    """Works for a while and writes down that it did, in a way that a kill cannot take back."""
    time.sleep(seconds)
    append(log, item.id)
    return {"seen": item.id}


def die_at_commit(item: ImageItem, log: str, point: int) -> dict[str, str]:
    """Has the runner killed, once in a job, before (0) or after (1) the first chunk of it becomes visible."""
    try:
        os.close(os.open(f"{log}.died", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        pass
    else:
        die_at(point)
    return note(item, log)


def append(log: str, line: str) -> None:
    """Adds a line to a file that many processes write to: O_APPEND keeps short ones whole."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)

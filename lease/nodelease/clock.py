"""The one clock of the lease: it counts suspend, so a laptop that slept does not believe that its lease is fresh.

Readings are compared only between processes that read the same clock: those of one boot of one machine, in one time namespace.
"""

import hashlib
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_TIME_NAMESPACE: Final = Path("/proc/self/ns/time")


def now() -> float:
    """Seconds since boot, suspend included (CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Moment(NamedTuple):
    """An instant, as one process tells it to another that may read the same clock or not."""

    clock: str
    """Which clock it was read from (`clock_id`)."""
    seconds: float
    """What `now` said."""

    def here(self) -> float | None:
        """The instant on this process's clock, never later than now; None if it was read from another clock."""
        return min(self.seconds, now()) if self.clock == clock_id() else None


@cache
def clock_id() -> str:
    """What tells the clock that `now` reads from every other one. One that cannot be told from others is this process's alone."""
    try:
        boot = _BOOT_ID.read_text().strip()
    except OSError:
        boot = os.urandom(16).hex()
    namespace = ""
    with suppress(OSError):  # kernels before 5.6 have one for all
        namespace = str(_TIME_NAMESPACE.readlink())
    return hashlib.blake2s(f"{boot} {namespace}".encode(), digest_size=6).hexdigest()


def wall_microseconds() -> int:
    """The time of day in microseconds since 1970: where the fences of a new Lease begin."""
    return time.time_ns() // 1000


def wall_time() -> str:
    """The time of day as Kubernetes writes a MicroTime. For people; nothing is decided by it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

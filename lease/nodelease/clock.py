"""The one clock of the lease: it counts suspend, so a laptop that slept does not believe that its lease is fresh.

Readings are compared only within one machine.
"""

import time
from datetime import UTC, datetime


def now() -> float:
    """Seconds since boot, suspend included (CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall_time() -> str:
    """The time of day as Kubernetes writes a MicroTime. For people; nothing is decided by it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def wall_seconds_since(time_of_day: str) -> float:
    """How long ago a `wall_time` was, by this machine's clock of the day; negative if it is still to come."""
    return (datetime.now(UTC) - datetime.fromisoformat(time_of_day)).total_seconds()

"""What a process must be told, most of it before it starts, so that inference on CPUs runs at the speed of the machine.

glibc gives every large block back to the kernel when it is freed, so each forward pass of a network pays for fresh, zeroed pages again:
measured with EfficientNet-Lite0 at batch 32 on two cores, 22 images a second against 126 with the thresholds below. On threads other than
the main one the thresholds hold only with a single arena. glibc reads these variables when a process starts, so they must stand in its
environment by then.
"""

import os
import signal
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Final

ALLOCATOR_VARIABLES: Final[Mapping[str, str]] = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(4 * 1024**3),
    "MALLOC_TRIM_THRESHOLD_": str(4 * 1024**3),
    "MALLOC_TOP_PAD_": str(64 * 1024**2),
}
"""glibc's tunables: one arena; blocks up to 4 GiB from the heap; free heap kept up to 4 GiB."""

THREAD_VARIABLES: Final[Mapping[str, str]] = {"OMP_WAIT_POLICY": "PASSIVE"}
"""OpenMP threads that wait sleep, so that decoding gets the CPU."""

SWITCH_SECONDS: Final = 0.0001
"""After how long a Python thread that computes lets another one go on that wants to. A network gives the interpreter away at each of its
operations and asks for it again: with Python's own 5 ms it waits for whoever decodes and saves beside it, and was seen to lose a tenth."""


def share_interpreter() -> None:
    """Lets inference go on soon when other threads of this process compute; for the whole process, from now on."""
    sys.setswitchinterval(SWITCH_SECONDS)


def prepare_environment(environment: MutableMapping[str, str]) -> bool:
    """Adds what is missing for processes started from now on; what the user has set stays.

    Returns:
        Whether anything was added: then a process that is already running must be started anew to profit.
    """
    missing = {name: value for name, value in {**ALLOCATOR_VARIABLES, **THREAD_VARIABLES}.items() if name not in environment}
    environment.update(missing)
    return bool(missing)


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Ctrl-C reaches all processes of a terminal. What is started inside does not see it; this process does, afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def cpu_count() -> int:
    """CPUs that this process may use: its affinity, and less if its control group has a smaller quota (as in a pod with a CPU limit)."""
    cpus = len(os.sched_getaffinity(0))
    quota = _cgroup_cpus()
    return max(1, min(cpus, quota)) if quota is not None else cpus


def _cgroup_cpus() -> int | None:
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:  # noqa: PTH123  a kernel file, read at every start
            quota, period = file.read().split()
    except (OSError, ValueError):
        try:
            with (
                open("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", encoding="ascii") as quota_file,  # noqa: PTH123  as above
                open("/sys/fs/cgroup/cpu/cpu.cfs_period_us", encoding="ascii") as period_file,  # noqa: PTH123  as above
            ):
                quota, period = quota_file.read().strip(), period_file.read().strip()
        except OSError:
            return None
    if quota in ("max", "-1"):
        return None
    return max(1, round(int(quota) / int(period)))


def memory_limit() -> int:
    """Bytes that this process and those beside it may use: its control group's limit (as in a pod with one), else the machine's memory."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path, encoding="ascii") as file:  # noqa: PTH123  as above
                text = file.read().strip()
        except OSError:
            continue
        return min(machine, int(text)) if text.isdecimal() else machine
    return machine


def own_memory() -> int:
    """Bytes that this process has and cannot give back: what it has read from files is not counted."""
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123  as above
        kilobytes = next((line.split()[1] for line in file if line.startswith("RssAnon:")), "0")
    return 1024 * int(kilobytes)

"""How many CPU threads a forward pass may use, and making torch keep to it on the thread that runs it."""

import os
from pathlib import Path
from typing import Final

import torch

_CPU_MAX: Final = Path("/sys/fs/cgroup/cpu.max")


def available_cpus() -> int:
    """CPUs that this process may use: its affinity, bounded by the cgroup's CPU limit (rounded up), at least one.

    torch counts the cores of the node instead and then spends its time switching between too many threads in a pod with a CPU limit.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CPU_MAX.read_text(encoding="ascii").split()
        limit = -(-int(quota) // int(period))
    except (OSError, ValueError):  # no cgroup v2 here, or "max"
        return affinity
    return max(1, min(affinity, limit))


def use_threads(count: int) -> None:
    """Makes torch use `count` threads for work started from the calling thread.

    OpenMP keeps the number for each thread of the program, so it has to be set on the very thread that calls the model.
    """
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)

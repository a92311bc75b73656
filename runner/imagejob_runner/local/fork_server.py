"""The process that runner processes are forked from: it loads torch and the rest once, so that starting one costs milliseconds.

Loading takes seconds and needs nothing of what a run must find out first. So the server is started before anything else, and the files are
read, the limits made and the plan written beside it.
"""

import os
import re
import time
from collections.abc import Collection
from multiprocessing import forkserver
from pathlib import Path
from typing import Final

from imagejob_runner.pipeline.works import MODULES, PREPARED
from imagejob_runner.process import interrupts_held_back, prepare_environment

_GC_OFF: Final = "imagejob_runner.local.gc_off"
_GC_ON: Final = "imagejob_runner.local.gc_on"
_RUNNER: Final = "imagejob_runner.local.worker"
_PREPARATION: Final = "imagejob_runner.preparation.worker"
_UNHURRIED: Final = "imagejob_runner.preparation.unhurried"
_KEY: Final = re.compile(rf"\b({'|'.join(MODULES)})\b[\"']?\s*:".encode())
_LARGEST_FILE: Final = 1 << 20
_started: Final[list[float]] = []


def start(kinds: Collection[str]) -> None:
    """Starts the server, unless it runs.

    Args:
        kinds: Kinds of the steps to come: what they need is loaded in the server. A process of another kind loads it itself.
    """
    # The allocator reads its settings when a process starts, and forked ones keep those of the server.
    prepare_environment(os.environ)
    workers = [] if PREPARED.isdisjoint(kinds) else [_PREPARATION]
    forkserver.set_forkserver_preload([_GC_OFF, *sorted(MODULES[kind] for kind in kinds), _RUNNER, *workers, _UNHURRIED, _GC_ON])
    with interrupts_held_back():
        forkserver.ensure_running()
    _started.append(time.monotonic())


def seconds_since_start() -> float:
    """Seconds since the server was first started."""
    return time.monotonic() - _started[0] if _started else 0.0


def start_early(files: Collection[Path]) -> None:
    """Starts the server for the jobs in some files, by a glance at them: a wrong guess costs time, and nothing else.

    Args:
        files: YAML or JSON files. What is not a readable file of moderate size is left to whoever reads them properly.
    """
    kinds = {kind for path in files for kind in _kinds_in(path)}
    if kinds:
        start(kinds)


def _kinds_in(path: Path) -> set[str]:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
            return set()
        return {found.decode() for found in _KEY.findall(path.read_bytes())}
    except OSError:
        return set()

"""All that the tests need besides Python, built into the cache in the order in which ``make test`` comes to need it.

``python -m tests.tools.programs`` builds what is not there and prints where everything is. With a process's number it does so in the
background until that process ends, while nobody else wants the processors: a head start for ``make test``, which has other things to do
first. Then it makes the images of the test cluster, too, in a Docker engine that goes with the cluster, or with that process if it comes
to none. Nothing relies on it. Whoever needs a program installs it, waits if that is going on here, and tells what is wrong.

It needs Python's own library only, so it can begin before anything is installed.
"""

import contextlib
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.cluster.cache import background_log
from tests.cluster.components.build import install_components
from tests.cluster.engine import alone, ensure_engine, stop_unused_engine
from tests.cluster.exceptions import ClusterError, UnavailableError
from tests.cluster.images import ensure_images
from tests.cluster.tools import COREDNS, HELM, KIND, KUBECONFORM, KWOK, VERSITYGW
from tests.tools.schemas import kubernetes_schemas

_LOG = logging.getLogger(__name__)

_INSTALLS: Final[Sequence[Callable[[], Path]]] = (
    HELM.install,  # lint
    KUBECONFORM.install,
    kubernetes_schemas,
    VERSITYGW.install,  # unit tests
    install_components,  # integration tests
    KWOK.install,
    KIND.install,  # end-to-end tests
    COREDNS.install,
)

_LOWEST_PRIORITY: Final = 19
_END_TRIES: Final = 50
_END_AGAIN_SECONDS: Final = 0.2


def main(arguments: Sequence[str]) -> None:
    """See above."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if arguments:
        _install_until_end_of(int(arguments[0]))
        return
    try:
        for install in _INSTALLS:
            sys.stdout.write(f"{install()}\n")
    except UnavailableError as error:
        sys.exit(str(error))


def _install_until_end_of(process: int) -> None:
    if sys.platform != "linux":
        return  # most of it is for Linux only, and so is what follows
    ending, engine_runs = threading.Event(), threading.Event()
    ended = os.pidfd_open(process)
    log = background_log()
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"What the tests need besides Python is built in the background; {log} tells of it.\n")
    sys.stdout.flush()
    with log.open("a") as output:
        os.dup2(output.fileno(), sys.stdout.fileno())
        os.dup2(output.fileno(), sys.stderr.fileno())
    _step_back()
    end = threading.Thread(target=_end, args=(ended, ending, engine_runs), daemon=True)
    end.start()
    for install in _INSTALLS:
        if ending.is_set():
            _LOG.info("ended with process %d", process)
            return
        try:
            _LOG.info("%s is there", install())
        except UnavailableError as error:
            _LOG.info("%s", error)
    try:
        with alone():
            with _at_usual_priority():
                engine = ensure_engine()
            engine_runs.set()
            _LOG.info("the images are there: %s", ", ".join(ensure_images(engine)))
    except ClusterError as error:
        _LOG.info("%s", error)
    if engine_runs.is_set():
        end.join()  # the engine would stay


@contextlib.contextmanager
def _at_usual_priority() -> Iterator[None]:
    """For what is started and stays: it would keep the lowest one, and who uses it later would wait for everybody else.

    Who may not go back to it may not start an engine either.
    """
    policy, priority = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    yield
    os.setpriority(os.PRIO_PROCESS, 0, priority)
    os.sched_setscheduler(0, policy, os.sched_param(0))


def _step_back() -> None:
    """Gives itself the lowest priority, and a process group of its own, by which its children are ended with it.

    No session of its own: Linux may weigh sessions against each other (autogroup), and then a priority counts within its session only.
    """
    os.setpgrp()
    os.nice(_LOWEST_PRIORITY)
    with contextlib.suppress(OSError):  # some sandboxes know no such policy
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    signal.signal(signal.SIGTERM, lambda *_: None)  # is for the children: see `_end`


def _end(ended: int, ending: threading.Event, engine_runs: threading.Event) -> None:
    select.select([ended], [], [])
    ending.set()
    for _ in range(_END_TRIES):  # the first may come just before a Go that is being started
        os.killpg(0, signal.SIGTERM)  # Go ends, and `cached` removes what there is of an entry
        time.sleep(_END_AGAIN_SECONDS)
    if engine_runs.is_set():
        with contextlib.suppress(ClusterError, OSError), alone():
            stop_unused_engine()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])

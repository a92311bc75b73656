"""The signals that ask a pod to end."""

import signal
from typing import Final

SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT})


def hold_signals() -> None:
    """Keeps signals for later: the first process of a container loses those that come before it has a handler."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def let_signals_come() -> None:
    """Lets signals come, those that were kept as well."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

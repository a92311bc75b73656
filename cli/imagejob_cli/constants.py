"""Numbers and texts that more than one module of the command line relies on."""

from typing import Final

WAIT_NOTICE_SECONDS: Final = 1.0
"""`lease exec` says that it waits after this long."""
SIGNAL_EXIT_BASE: Final = 128
"""A command ended by a signal has this exit code plus the signal's number, as in a shell."""
CANNOT_EXECUTE: Final = 126
COMMAND_NOT_FOUND: Final = 127
WIDTH_WITHOUT_TERMINAL: Final = 160
"""Columns of tables that go to a file or a pipe."""

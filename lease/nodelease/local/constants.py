"""Names and numbers that the local store's server and its clients agree on."""

from typing import Final

DIRECTORY_VARIABLE: Final = "IMAGEJOB_RUNTIME_DIR"
SOCKET_FILE: Final = "lease.sock"
SERVER_LOCK_FILE: Final = "server.lock"
START_LOCK_FILE: Final = "start.lock"
LOG_FILE: Final = "server.log"
STATE_FOLDER: Final = "limits"

SOCKET_PATH_BYTES: Final = 107
"""Longest path of a Unix socket on Linux (sun_path, less its final zero)."""
PROTOCOL: Final = 2
"""Raised when the messages change; a client refuses a server that speaks another one."""
LINE_BYTES: Final = 1 << 20
"""Longest message. A Lease stays far below it."""

IDLE_SECONDS: Final = 5.0
"""The server ends when nobody has been connected for this long."""
GRACE_SECONDS: Final = 1.0
"""A restarted server waits so long for those who held or waited before it looks whether their processes are gone."""
START_SECONDS: Final = 20.0
"""How long a client tries to start a server."""
START_RETRY_SECONDS: Final = 0.01

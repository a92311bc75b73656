"""Numbers of the store of a cluster, in seconds."""

from typing import Final

REQUEST_SECONDS: Final = 5.0
"""A request without an answer for so long has failed: a holder that renews has time for another."""
CONNECT_SECONDS: Final = 3.0
PATIENCE_SECONDS: Final = 30.0
"""How long one request is repeated, in all, when the API server says when to come again."""
KEEP_ALIVE_SECONDS: Final = 60.0
"""How long an idle connection is kept; the API server closes them after 90."""

WATCH_SECONDS: Final = (240, 300)
"""The API server ends a watch after a time between these, so that those who started together do not come back together."""
WATCH_SILENCE_SECONDS: Final = 100.0
"""A watch that brings nothing for so long is broken: there is a bookmark every 60 to 75 seconds."""
WATCH_RETRY_FIRST_SECONDS: Final = 0.02
WATCH_RETRY_LAST_SECONDS: Final = 3.0
"""Backoff between two watches; one that lasted longer than the pause before it begins the backoff anew."""
EVENT_BYTES: Final = 2**20
"""More than any Lease has: 256 KiB of annotations, twice as many once their quotes are escaped."""

PROBE_IDLE_SECONDS: Final = 5
PROBE_INTERVAL_SECONDS: Final = 3
PROBE_COUNT: Final = 3
"""The kernel asks after the other end of a silent connection: one that has gone without a word is noticed within 14 seconds."""

TOKEN_SECONDS: Final = 60.0
"""How long a token is used before its file is read again; the kubelet renews the file long before the token ends."""

"""Imported last by a server that processes are forked from: it ends when nobody needs it any more, and not before.

SIGTERM may be sent to all processes of a group or a control group at once. Who still needs the server then ends in order.
"""

import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)

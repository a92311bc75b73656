"""How a process ends: that of the command line, and that of a pod.

Threads of native libraries outlive the event loop: a request to an object store that was given up may still hand its answer to Python. A
thread that does so while the interpreter is taken down is unwound by force, which Rust answers with an abort: a good `imagejob verify`
of an S3 output was seen to end with SIGABRT after it had printed its proof. So everything that Python would do at its end is done, but for
taking the interpreter down.
"""

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """Ends the process: exit functions, then output, then nothing more.

    Args:
        code: The exit code.
    """
    atexit._run_exitfuncs()  # noqa: SLF001  the only way to run them before os._exit
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it is gone
            stream.flush()
    os._exit(code)

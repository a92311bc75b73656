"""A process that dies at a chosen write: `python -m tests.process.crashing N imagejob's arguments…`.

Everything that becomes visible in an output in a folder does so through one of two operations, a link or a replace. Before and after each
is a place where a kill could leave something half done; number 0 is before the first operation, 1 after it, 2 before the second.
"""

import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any


def die_at(point: int) -> None:
    """Has this process killed when it reaches that point; what it writes from now on is counted."""
    reached = iter(range(1 << 30))

    def step() -> None:
        if next(reached) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def deadly(operation: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(operation)
        def counted(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401  whatever the operation takes
            step()
            answer = operation(*arguments, **options)
            step()
            return answer

        return counted

    os.link, os.replace = deadly(os.link), deadly(os.replace)


if __name__ == "__main__":
    from imagejob_cli.main import main

    die_at(int(sys.argv.pop(1)))
    main()

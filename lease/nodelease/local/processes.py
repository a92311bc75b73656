"""Whether the process behind a client's ids is still there, when no connection tells."""

from pathlib import Path


def is_alive(prefix: str) -> bool:
    """Whether the process whose client has this prefix runs, or at least could go on.

    A prefix begins with the process id and a dot. Should the id be another process's by now, what the old one held expires like any lease.
    """
    pid = prefix.partition(".")[0]
    if not pid.isdecimal():
        return False
    try:
        # The state follows the name, which is in brackets and may contain anything.
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"

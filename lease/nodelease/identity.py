"""What the ids of a process's requests tell of it: by them others find out that it has ended.

    <process id>.<time>.<random>[.<container>]-<row>.<number>

The time is when its client was made: whole seconds since 1970 in hexadecimal, by the clock of its machine. The local store looks whether
the process is there; the operator, whether the container has ended since, by the same machine's clock.
"""

import os
import re
import time
import uuid
from typing import Final, NamedTuple

_ID: Final = re.compile(r"[0-9]+\.([0-9a-f]{1,12})\.[0-9a-f]+(?:\.([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?))?-[0-9]+\.[0-9]+")


class Origin(NamedTuple):
    """Where a request comes from."""

    seconds: int
    """When its process was there: seconds since 1970 by its machine's clock."""
    container: str
    """The container it runs in; "" if that was not told."""


def new_prefix(container: str = "") -> str:
    """What the ids of one more client of this process begin with, up to the hyphen."""
    prefix = f"{os.getpid()}.{int(time.time()):x}.{uuid.uuid4().hex[:6]}"
    return f"{prefix}.{container}" if container else prefix


def process(request_id: str) -> str:
    """What all ids of a process's client begin with; of one that tells nothing, itself."""
    return request_id.rpartition("-")[0] or request_id


def origin(request_id: str) -> Origin | None:
    """Where a request comes from; None if its id does not tell."""
    found = _ID.fullmatch(request_id)
    return Origin(int(found[1], 16), found[2] or "") if found else None

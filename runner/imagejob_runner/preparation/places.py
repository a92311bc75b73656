"""Which images come over a network."""

import re
from typing import Final

_REMOTE: Final = re.compile(r"(?:https?|s3|gs|az)://", re.IGNORECASE)


def is_remote(url: str) -> bool:
    """Whether fetching it means to wait for others; else it is a file of this machine, or no valid URL."""
    return _REMOTE.match(url) is not None

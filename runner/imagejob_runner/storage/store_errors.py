"""Makes sense of what object stores answer when something is wrong: XML for programs, wrapped in the client's own dump."""

import re
from typing import Final

_ANSWER: Final = re.compile(r"<Code>(?P<code>[^<]*)</Code>.*?<Message>(?P<message>[^<]*)</Message>", re.DOTALL)
_NO_BUCKET: Final = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")
_LONGEST: Final = 300
# Where the clients look for a machine's own credentials when the environment names none.
_METADATA_SERVERS: Final = ("169.254.169.254", "metadata.google.internal", "169.254.170.2")


def brief(error: Exception) -> str:
    """An error in one line: the store's own code and message if it answered, else what the client says."""
    text = str(error).split("\n\nDebug source", 1)[0]
    if any(server in text for server in _METADATA_SERVERS):
        return "the environment has no credentials (for s3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), and neither has this machine"
    if (answer := _ANSWER.search(text)) is not None:
        text = f"{answer['code']}: {answer['message']}"
    return " ".join(text.split())[:_LONGEST]


def is_missing(error: Exception) -> bool:
    """Whether the object, or the bucket it should be in, does not exist. A listing of no bucket is not marked so by the client."""
    return isinstance(error, FileNotFoundError) or any(mark in str(error) for mark in _NO_BUCKET)

"""Makes sense of what object stores answer when something is wrong: XML for programs, wrapped in the client's own dump."""

import re
from typing import Final

_ANSWER: Final = re.compile(r"<Code>(?P<code>[^<]*)</Code>.*?<Message>(?P<message>[^<]*)</Message>", re.DOTALL)
_NO_BUCKET: Final = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")
_LONGEST: Final = 300


def brief(error: Exception) -> str:
    """An error in one line: the store's own code and message if it answered, else what the client says."""
    text = str(error).split("\n\nDebug source", 1)[0]
    if (answer := _ANSWER.search(text)) is not None:
        text = f"{answer['code']}: {answer['message']}"
    return " ".join(text.split())[:_LONGEST]


def is_missing(error: Exception) -> bool:
    """Whether the object, or the bucket it should be in, does not exist. A listing of no bucket is not marked so by the client."""
    return isinstance(error, FileNotFoundError) or any(mark in str(error) for mark in _NO_BUCKET)

"""Makes sense of what object stores answer when something is wrong: XML for programs, wrapped in the client's own dump."""

import re
from http import HTTPStatus
from typing import Final

from obstore.exceptions import BaseError, NotSupportedError, PermissionDeniedError, UnauthenticatedError

_ANSWER: Final = re.compile(r"<Code>(?P<code>[^<]*)</Code>.*?<Message>(?P<message>[^<]*)</Message>", re.DOTALL)
_NO_BUCKET: Final = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")
_LONGEST: Final = 300
_STATUS: Final = re.compile(r"status code: (\d{3})")
_REQUEST: Final = re.compile(r"Error performing [A-Z]+ (https?://[^/\s]+)")
_NOT_SENT: Final = "error sending request"
_CAUSE: Final = re.compile(r'(?:message|error): "([^"]+)"')
_PASSING: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
"""Statuses below 500 that another attempt may not meet."""
_CODE: Final = re.compile(r"<Code>([^<]*)</Code>")
# What passes when a clock is set, a token renewed, or load is less, whatever the status that it comes with.
_UNTIMELY: Final = ("RequestTimeTooSkewed", "ExpiredToken", "TokenRefreshRequired")
_BUSY: Final = ("RequestTimeout", "SlowDown")
# Where the clients look for a machine's own credentials when the environment names none.
_METADATA_SERVERS: Final = ("169.254.169.254", "metadata.google.internal", "169.254.170.2")


def brief(error: Exception) -> str:
    """An error in one line: the store's own code and message if it answered, else what the client says."""
    text = str(error).split("\n\nDebug source", 1)[0]
    if any(server in text for server in _METADATA_SERVERS):
        return "the environment has no credentials (for s3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), and neither has this machine"
    if _NOT_SENT in text and (request := _REQUEST.search(text)) is not None:
        # In the words that stay the same from one attempt to the next: the client's own have the time that each took.
        cause = _CAUSE.search(str(error))
        return f"{request[1]} cannot be reached: {cause[1]}"[:_LONGEST] if cause is not None else f"{request[1]} does not answer"
    if (answer := _ANSWER.search(text)) is not None:
        text = f"{answer['code']}: {answer['message']}"
    return " ".join(text.split())[:_LONGEST]


def is_missing(error: Exception) -> bool:
    """Whether the object, or the bucket it should be in, does not exist. A listing of no bucket is not marked so by the client."""
    return isinstance(error, FileNotFoundError) or any(mark in str(error) for mark in _NO_BUCKET)


def is_denied(error: Exception) -> bool:
    """Whether the store does not accept the credentials, or they do not allow what was tried."""
    return isinstance(error, PermissionDeniedError | UnauthenticatedError)


def is_untimely(error: Exception) -> bool:
    """Whether the credentials are right, but not at this time: a clock is wrong, or they have expired and may be renewed."""
    return _code(error) in _UNTIMELY


def is_refusal(error: Exception) -> bool:
    """Whether a store has answered that it will not do what was asked, now or later; not if it did not answer or cannot for a moment."""
    if _code(error) in (*_UNTIMELY, *_BUSY):
        return False
    if is_missing(error) or is_denied(error) or isinstance(error, NotSupportedError):
        return True
    answer = _STATUS.search(str(error)) if isinstance(error, BaseError) else None
    if answer is None or any(server in str(error) for server in _METADATA_SERVERS):
        return False
    status = int(answer[1])
    return status not in _PASSING and (status < HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.NOT_IMPLEMENTED)


def _code(error: Exception) -> str:
    """The store's own word for what is wrong; empty without one."""
    found = _CODE.search(str(error)) if isinstance(error, BaseError) else None
    return found[1] if found is not None else ""

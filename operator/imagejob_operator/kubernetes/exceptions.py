"""What the API server may answer, by what can be done about it.

ApiError                 all of them
├── NotFoundError        404: it is not there, or its kind or namespace is not
├── ExistsError          409 on a creation: the name is taken
├── ConflictError        409 otherwise: it has changed since it was read; read again
├── RefusedError         400, 401, 403, 405, 413, 422: the same request is refused again
└── ApiUnavailableError  no answer, 429 or 5xx, after several attempts: try again later
"""

from http import HTTPStatus
from typing import Final

_AGAIN: Final = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


class ApiError(Exception):
    """A request did not do what it was to do.

    Args:
        message: What the API server says.
        status: The answer's HTTP status; 0 if there was no answer.
        reason: The API server's word for it, such as ``Forbidden``.
        token: Where a list goes on that has taken too long to be of one moment.
    """

    def __init__(self, message: str, *, status: int = 0, reason: str = "", token: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.token = token


class NotFoundError(ApiError):
    """There is no such object."""


class ExistsError(ApiError):
    """There is an object of that name already."""


class ConflictError(ApiError):
    """The object has changed since it was read, or is another one."""


class RefusedError(ApiError):
    """The request itself is refused: by its form, by rights, by quota, by an admission policy."""


class ApiUnavailableError(ApiError):
    """The API server cannot answer at present."""


def error_of(status: int, reason: str, message: str, token: str = "") -> ApiError:
    """The error that stands for an answer that is not 2xx."""
    kind: type[ApiError] = RefusedError
    if status == HTTPStatus.NOT_FOUND:
        kind = NotFoundError
    elif status == HTTPStatus.CONFLICT:
        kind = ExistsError if reason == "AlreadyExists" else ConflictError
    elif status in _AGAIN:
        kind = ApiUnavailableError
    return kind(message, status=status, reason=reason, token=token)

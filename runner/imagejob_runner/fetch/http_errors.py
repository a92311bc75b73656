"""Tells what went wrong on the way to a web server: with which code, and whether another attempt may help."""

import datetime as dt
import email.utils
import math
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import aiohttp

from imagejob_api.redaction import shown_url
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError

_GONE: Final = {404, 410}
_FORBIDDEN: Final = {401, 403, 407}
_PASSING: Final = {408, 425, 429}
_SERVER_ERRORS: Final = 500
_NO_SUCH_HOST: Final = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


def status_error(status: int, reason: str | None, headers: Mapping[str, str], url: str) -> ImageError:
    """The error of an answer that is neither 200 nor a redirect."""
    message = f"{url} answered {status} {reason or ''}".rstrip()
    if status in _GONE:
        return ImageError(ErrorCode.NOT_FOUND, message)
    if status in _FORBIDDEN:
        return ImageError(ErrorCode.PERMISSION_DENIED, f"{message}; see download.headers if it needs a login")
    retryable = status in _PASSING or status >= _SERVER_ERRORS
    wait = retry_after(headers.get("Retry-After")) if retryable else None
    return ImageError(ErrorCode.HTTP_STATUS, message, retryable=retryable, retry_after=wait)


def retry_after(value: str | None, now: dt.datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks to wait, given as a number or a date (RFC 9110, 10.2.3); None if it says neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = email.utils.parsedate_to_datetime(value)
        except ValueError:
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=dt.UTC)
        seconds = (date - (now or dt.datetime.now(dt.UTC))).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def connection_error(error: Exception, refused: Sequence[str], url: str, *, proxy: str | None = None, hint: str = "") -> ImageError:
    """The error of a request that got no answer.

    Args:
        error: What the client raised.
        refused: Addresses that the guard refused.
        url: The URL, for messages.
        proxy: The proxy that the request went through.
        hint: What else may be the reason.
    """
    way = f"{url}, through the proxy {shown_url(proxy)}" if proxy is not None else url
    if refused:
        return ImageError(
            ErrorCode.ADDRESS_FORBIDDEN,
            f"{url} leads to {', '.join(refused)}, which is not public; if that is right, list its network in download.allowedNetworks",
        )
    if isinstance(error, aiohttp.InvalidURL) or not isinstance(error, aiohttp.ClientError | OSError):
        return ImageError(ErrorCode.INVALID_URL, f"{url} cannot be requested: {error}")
    also = f" ({hint})" if hint else ""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return ImageError(
            ErrorCode.CONNECTION_FAILED,
            f"{way}: the proxy answered {error.status} {error.message}",
            retryable=error.status >= _SERVER_ERRORS,
        )
    if any(isinstance(cause, socket.gaierror) and cause.errno in _NO_SUCH_HOST for cause in _causes(error)):
        return ImageError(ErrorCode.CONNECTION_FAILED, f"{way}: there is no such host{also}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return ImageError(ErrorCode.CONNECTION_FAILED, f"{way}: the server's certificate is not trusted: {error}")
    return ImageError(ErrorCode.CONNECTION_FAILED, f"{way}: {error or type(error).__name__}{also}", retryable=True)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__

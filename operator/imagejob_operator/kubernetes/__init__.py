"""The API server as the operator uses it: plain dicts in and out, timeouts, repetition, and errors by what to do about them."""

from imagejob_operator.kubernetes.api import KubernetesApi, Page
from imagejob_operator.kubernetes.connection import Connection, connect
from imagejob_operator.kubernetes.exceptions import (
    ApiError,
    ApiUnavailableError,
    ConflictError,
    ExistsError,
    NotFoundError,
    RefusedError,
)

__all__ = [
    "ApiError",
    "ApiUnavailableError",
    "ConflictError",
    "Connection",
    "ExistsError",
    "KubernetesApi",
    "NotFoundError",
    "Page",
    "RefusedError",
    "connect",
]

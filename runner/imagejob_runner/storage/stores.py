"""Clients of object stores: one for each bucket and process, set up from the environment alone.

Credentials and endpoints come from the variables that the stores' own tools read (``AWS_*``, ``GOOGLE_*``, ``AZURE_*``); nothing about them
ever stands in a job.
"""

from __future__ import annotations

import os
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from obstore.store import AzureStore, GCSStore, S3Store

from imagejob_runner.urls import ObjectScheme

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

Store = S3Store | GCSStore | AzureStore

_ENDPOINTS: Final = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
# The engine puts its own time limit around each download; this one only frees a connection that nobody waits for any more.
_REQUEST_TIMEOUT: Final = timedelta(minutes=10)
_READ_TIMEOUT: Final = timedelta(minutes=1)
_HASTY_TIMEOUT: Final = timedelta(seconds=5)


def open_store(scheme: ObjectScheme, bucket: str, *, hasty: bool = False) -> Store:
    """The client of a bucket (Azure: of a container). Makes no request.

    Args:
        scheme: Which store.
        bucket: The bucket.
        hasty: Whether a request is to fail within seconds and at the first error, for whoever waits to be told.
    """
    endpoint = next((os.environ[name] for name in _ENDPOINTS[scheme] if os.environ.get(name)), "")
    return _open_store(scheme, bucket, endpoint, hasty=hasty)


@lru_cache(maxsize=64)
def _open_store(scheme: ObjectScheme, bucket: str, endpoint: str, *, hasty: bool) -> Store:
    # An endpoint without TLS is somebody's own server, named on purpose; the stores' public endpoints are never spoken to in the clear.
    options: ClientConfig = {"allow_http": endpoint.startswith("http://"), "timeout": _REQUEST_TIMEOUT, "read_timeout": _READ_TIMEOUT}
    retries: RetryConfig = {"max_retries": 5, "retry_timeout": timedelta(minutes=1)}
    if hasty:
        options |= {"timeout": _HASTY_TIMEOUT, "connect_timeout": _HASTY_TIMEOUT, "read_timeout": _HASTY_TIMEOUT}
        retries = {"max_retries": 0, "retry_timeout": _HASTY_TIMEOUT}
    match scheme:
        case "s3":
            return S3Store(bucket, client_options=options, retry_config=retries)
        case "gs":
            return GCSStore(bucket, client_options=options, retry_config=retries)
        case "az":
            return AzureStore(bucket, client_options=options, retry_config=retries)

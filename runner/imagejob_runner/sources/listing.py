"""Chooses the way a source is listed."""

from collections.abc import AsyncIterator

from imagejob_api.imagejob import ImageUrl, Source
from imagejob_api.pipeline import Download
from imagejob_api.redaction import kept_url
from imagejob_runner.exceptions import InvalidJobError, InvalidSourceError
from imagejob_runner.sources.base import Entry
from imagejob_runner.sources.manifest import list_manifest
from imagejob_runner.sources.prefix import list_prefix
from imagejob_runner.urls import parse_url


async def list_source(source: Source, *, output_url: str | None = None, download: Download | None = None) -> AsyncIterator[Entry]:
    """Lists a job's inputs in a stable order. Ids are not checked for being unique; planning does that.

    Args:
        source: What the job says.
        output_url: The job's output, which is left out of a listing that contains it.
        download: How a manifest on a web server is fetched; the defaults unless given.

    Raises:
        InvalidSourceError: The source says something that cannot be, with the place of it.
        StorageError: It cannot be read.
    """
    if source.urls is not None:
        for position, item in enumerate(source.urls):
            yield _inline_entry(position, item)
    elif source.manifest is not None:
        async for entry in list_manifest(source.manifest, download or Download()):
            yield entry
    elif source.prefix is not None:
        async for entry in list_prefix(source.prefix, output_url):
            yield entry


def _inline_entry(position: int, item: ImageUrl) -> Entry:
    try:
        parse_url(item.url)
    except InvalidJobError as error:
        raise InvalidSourceError(f"source.urls[{position}].url: {error}") from None
    return Entry(kept_url(item.url) if item.id is None else item.id, item.url)

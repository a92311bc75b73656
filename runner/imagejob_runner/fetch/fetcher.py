"""Downloads images into memory, whatever their scheme."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from imagejob_api.pipeline import Download
from imagejob_api.redaction import shown_url
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError, InvalidJobError
from imagejob_runner.fetch.body import read_bounded
from imagejob_runner.fetch.local import read_file
from imagejob_runner.fetch.objects import open_object
from imagejob_runner.urls import FileUrl, ObjectUrl, parse_url

if TYPE_CHECKING:
    from imagejob_runner.fetch.http import HttpClient

# Of their own, so that slow network file systems do not take the threads that decode.
_FILE_THREADS: Final = 16


class Fetcher:
    """Downloads images. An async context manager; one for each download step of a process.

    There is no time limit in here: whoever calls puts one around each attempt, and a call that is cancelled leaves nothing behind.

    Args:
        download: The step's settings.
    """

    def __init__(self, download: Download) -> None:
        self._download = download
        self._http: HttpClient | None = None
        self._threads = ThreadPoolExecutor(_FILE_THREADS, thread_name_prefix="fetch")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._http is not None:
            await self._http.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def fetch(self, url: str) -> bytes:
        """The bytes behind a URL.

        Raises:
            ImageError: They cannot be had; the code says why, `retryable` whether to try again, `retry_after` in how many seconds.
        """
        limit = self._download.max_bytes
        try:
            location = parse_url(url)
        except InvalidJobError as error:
            raise ImageError(ErrorCode.INVALID_URL, str(error)) from None
        if isinstance(location, FileUrl):
            return await asyncio.get_running_loop().run_in_executor(self._threads, read_file, location.path, url, limit)
        name = shown_url(url)
        if isinstance(location, ObjectUrl):
            return await read_bounded(await open_object(location, name), name, limit)
        if self._http is None:
            from imagejob_runner.fetch.http import HttpClient  # noqa: PLC0415  its libraries take 0.2 s, and files need none of it

            self._http = HttpClient(self._download)
        async with self._http.open(location.url) as body:
            return await read_bounded(body, name, limit)

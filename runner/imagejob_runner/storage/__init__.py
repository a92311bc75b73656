"""Where rows go: a folder or a prefix in an object store, behind one small interface with atomic writes."""

from imagejob_runner.storage.base import OutputStore
from imagejob_runner.storage.local import LocalOutput
from imagejob_runner.storage.objects import ObjectOutput
from imagejob_runner.urls import FileUrl, parse_output_url

__all__ = ["LocalOutput", "ObjectOutput", "OutputStore", "open_output"]


def open_output(url: str) -> OutputStore:
    """Opens an output for reading and writing. Nothing is written, and nothing needs to exist yet.

    Raises:
        InvalidJobError: `url` cannot be an output.
    """
    location = parse_output_url(url)
    return LocalOutput(location.path, url) if isinstance(location, FileUrl) else ObjectOutput(location, url)

"""The three tasks of Prefect's example of a global concurrency limit, as functions for `call` steps."""

import time

from imagejob_runner import ImageItem


def download(item: ImageItem, seconds: float) -> dict[str, str]:
    """Takes as long as a download."""
    time.sleep(seconds)
    return {"downloaded": item.id}


def infer(item: ImageItem, seconds: float) -> dict[str, str]:
    """Takes as long as a model on an image."""
    time.sleep(seconds)
    return {"label": f"class of {item.id}"}


def save(item: ImageItem, seconds: float) -> None:
    """Takes as long as writing a result."""
    del item
    time.sleep(seconds)

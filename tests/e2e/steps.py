"""Functions of `call` steps for pods of the tests, which find this file in a ConfigMap."""

import os
import time
import urllib.request

from imagejob_runner import ImageItem


def work(item: ImageItem, seconds: float) -> dict[str, str]:
    """Takes its time, and says where."""
    time.sleep(seconds)
    return {"worked": item.id, "pod": os.environ["IMAGEJOB_POD_NAME"]}


def fetch(item: ImageItem) -> dict[str, int]:
    """Fetches the item's URL."""
    with urllib.request.urlopen(item.url, timeout=30) as answer:
        return {"bytes": len(answer.read())}


def crash(item: ImageItem) -> None:
    """Ends the process without a word, as a defect in native code does."""
    del item
    os._exit(1)

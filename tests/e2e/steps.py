"""Functions of `call` steps for pods of the tests, which find this file in a ConfigMap."""

import os
import time

from imagejob_runner import ImageItem


def work(item: ImageItem, seconds: float) -> dict[str, str | float]:
    """Takes its time, and says when and where it did; in seconds of the clock that audit records use."""
    del item
    began = time.clock_gettime(time.CLOCK_BOOTTIME)
    time.sleep(seconds)
    return {"began": began, "ended": time.clock_gettime(time.CLOCK_BOOTTIME), "pod": os.environ["IMAGEJOB_POD_NAME"]}


def crash(item: ImageItem) -> None:
    """Ends the process without a word, as a defect in native code does."""
    del item
    os._exit(1)

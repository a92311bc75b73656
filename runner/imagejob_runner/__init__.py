"""The pod (on one machine: the process) that takes images through a pipeline.

What a function for a `call` step may want stands here: `ImageItem`, `SkipImage`, `ImageError` and `ErrorCode`.
"""

from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError, SkipImage
from imagejob_runner.item import ImageItem

__all__ = ["ErrorCode", "ImageError", "ImageItem", "SkipImage"]

"""What is done to every image of a pool; loads neither Pillow nor numpy."""

from dataclasses import dataclass
from typing import Final

from imagejob_api.pipeline import Decode, Download, Operation, Preprocess, Step

BANDS: Final = 3
"""Of a picture and of a model's input: red, green, blue; a byte each."""
UNIT: Final = 32
"""Images that a worker process is handed at once, at most."""


@dataclass(frozen=True)
class PreparationRecipe:
    """What is done to every image of a pool.

    Attributes:
        download: How it is fetched; None if every request carries its bytes.
        download_step: Name, timeout and retries of the download step; None without `download`.
        decode: How bytes become pixels.
        operations: Changes of the picture, in order.
        preprocess: What makes the model's input of it; None if no model comes next.
        keep_image: Whether later steps want the picture, too.
        decode_step: Name, timeout and retries of the step in which it is decoded.
    """

    download: Download | None
    download_step: Step | None
    decode: Decode
    operations: tuple[Operation, ...]
    preprocess: Preprocess | None
    keep_image: bool
    decode_step: Step

    def __post_init__(self) -> None:
        if (self.download is None) != (self.download_step is None):
            raise ValueError("download and download_step belong together")

"""What goes into a pool and what comes out of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagejob_runner.exceptions import ImageError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from imagejob_runner.device.jpeg import Header


@dataclass(slots=True)
class Request:
    """An image that is to be prepared."""

    number: int
    """Unique among what is under way or held in the pool, and not negative; chosen by whoever asks."""
    url: str
    """Where it is."""
    data: bytes | None = None
    """Its encoded bytes, if they are there already: then nothing is fetched, and they are not hashed."""


@dataclass(slots=True)
class Prepared:
    """An image that has ended, well or not. Its slot is held until it is released."""

    number: int
    """Of the request."""
    error: ImageError | None
    """Why it fails."""
    attempts: int
    """Of the step that it ended in."""
    provenance: dict[str, Any]
    """inputSha256, inputBytes, format, width, height, draft, as far as they became known."""
    timings: dict[str, float]
    """Seconds by step name, waiting left out."""
    array: "np.ndarray | None"
    """The model's input before normalisation: uint8, shape (size, size, 3), red first. A view of a slot, valid until that is released."""
    image: "Image.Image | None"
    """The picture after all operations, mode RGB, if it was asked for."""
    slot: int
    """Its place in `PreparationPool.pixels`: neighbours in a batch often are neighbours there."""
    header: "Header | None" = None
    """What the markers of the file say, if it is a JPEG that the device is to decode."""
    encoded: "np.ndarray | None" = None
    """Then its bytes, instead of an array: uint8, shape (bytes,). A view of a slot, valid until that is released."""

"""One image on its way through the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


@dataclass(slots=True)
class ImageItem:
    """One image on its way through the pipeline; what a `call` function is given.

    A function may read everything, set `data` or `image`, and add to `outputs`; what it returns, unless None, is stored in `outputs` under
    its step's name and must be JSON.
    """

    id: str
    """The user's id of the input."""
    url: str
    """Where it came from."""
    data: bytes | None = None
    """The encoded bytes, from download until they are decoded."""
    image: Image.Image | None = None
    """The decoded picture, mode RGB."""
    array: np.ndarray | None = None
    """Model input before normalisation: uint8, shape (size, size, 3)."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """What the steps found, by step name; JSON values."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Input digest and size, model digest, preprocess fingerprint, node."""
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds by step name."""

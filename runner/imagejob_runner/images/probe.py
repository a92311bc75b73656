"""What the header of an image file says; loads neither Pillow nor numpy."""

from dataclasses import dataclass
from typing import Final

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")
"""Names of the accepted formats."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What the header says."""

    format: str
    """One of `FORMATS`."""
    width: int
    """Width in pixels as stored, before any EXIF turn."""
    height: int
    """Height in pixels as stored."""
    draft: bool
    """Whether the JPEG decoder scales it down."""
    memory: int
    """Bytes that decoding takes at one moment at most, besides the encoded file."""

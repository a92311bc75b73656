"""Pictures in a device's memory, and what makes them of files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture: RGB, a byte each, as stored."""

    address: int
    """Of its first pixel."""
    width: int
    """In pixels."""
    height: int
    """In pixels."""
    row: int
    """Bytes from one row to the next."""
    memory: object
    """What keeps it where it is."""


class DeviceDecoder(Protocol):
    """Decodes many files at once into a device's memory."""

    def decode(self, files: Sequence[np.ndarray]) -> list[Picture | None]:
        """Decodes JPEGs as `jpeg.header_for_gpu` lets through, as they are stored, whatever their EXIF says.

        Args:
            files: Bytes of each, of type uint8 and shape (bytes,). They may change when this has returned.

        Returns:
            For each file in order its picture, which is there when the stream that is the calling thread's has come by; None where the
            decoder refuses it.
        """

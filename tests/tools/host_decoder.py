"""A decoder of the kind that GPUs have, without one: Pillow, in this machine's memory, at full size and without turning anything."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
import torch
from PIL import Image

from imagejob_api.pipeline import Preprocess
from imagejob_runner.device.geometry import Scaling
from imagejob_runner.device.picture import Picture
from imagejob_runner.images.decode import TRANSPOSE
from imagejob_runner.images.preprocess import to_array


@dataclass
class HostDecoder:
    """See `DeviceDecoder`."""

    seen: int = 0
    """Files that it was given."""

    def decode(self, files: Sequence[np.ndarray]) -> list[Picture | None]:
        """Refuses what Pillow does not read."""
        self.seen += len(files)
        return [self._picture(file.tobytes()) for file in files]

    def _picture(self, data: bytes) -> Picture | None:
        try:
            array = np.array(Image.open(BytesIO(data)).convert("RGB"))
        except OSError:
            return None
        height, width, _ = array.shape
        return Picture(array.ctypes.data, width, height, array.strides[0], array)


@dataclass
class HostScale:
    """See `models.inputs.Scale`."""

    batches: list[int] = field(default_factory=list)
    """How many pictures it was given at once."""

    def __call__(
        self, pictures: Sequence[Picture], how: Sequence[Scaling], batch: torch.Tensor, places: Sequence[int], preprocess: Preprocess
    ) -> None:
        """Scales by Pillow."""
        self.batches.append(len(pictures))
        for picture, scaling, place in zip(pictures, how, places, strict=True):
            assert isinstance(picture.memory, np.ndarray)
            image = Image.fromarray(picture.memory)
            if scaling.orientation in TRANSPOSE:
                image = image.transpose(TRANSPOSE[scaling.orientation])
            batch[place] = torch.from_numpy(np.array(to_array(image, preprocess)))

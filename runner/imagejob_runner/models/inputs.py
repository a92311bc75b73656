"""Batches that are made on the device, of arrays that were prepared elsewhere and of JPEGs that the device decodes itself."""

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final

import numpy as np
import torch
from PIL import Image

from imagejob_api.pipeline import Decode, Preprocess
from imagejob_runner.device.geometry import Scaling, scaling
from imagejob_runner.device.jpeg import Header, header_for_gpu
from imagejob_runner.device.picture import DeviceDecoder, Picture
from imagejob_runner.exceptions import DeviceError, ImageError
from imagejob_runner.images.decode import decode as decode_here
from imagejob_runner.images.preprocess import to_array
from imagejob_runner.models.device import first_line, is_device_error, is_memory_error

logger = logging.getLogger(__name__)

Scale = Callable[[Sequence[Picture], Sequence[Scaling], torch.Tensor, Sequence[int], Preprocess], None]
"""See `device.resize.resize`."""

_TRIAL_PIXELS: Final = (16, 512)
"""Least and most of a side of the picture that is tried."""
_TRIAL_DIFFERENCE: Final = 4.0
"""Of 255, on average: decoders differ by less than one."""


@dataclass(frozen=True, slots=True)
class Undecoded:
    """A JPEG for the device to decode."""

    data: np.ndarray
    """Its bytes, type uint8, shape (bytes,)."""
    header: Header
    """What `device.jpeg.header_for_gpu` says of it."""


@dataclass(frozen=True, slots=True)
class Made:
    """How a batch came about."""

    errors: dict[int, ImageError] = field(default_factory=dict)
    """What is wrong with images, by their place; their inputs mean nothing."""
    decoded: frozenset[int] = frozenset()
    """Places of images that the device has decoded."""


class Inputs:
    """Makes model inputs of JPEGs, on the stream that is the calling thread's.

    What the decoder refuses is decoded on the CPU, which knows best what is wrong with it.

    Args:
        decoder: The device's.
        scale: What scales on the device.
        decode: How bytes become pixels.
        preprocess: How pixels become a model's input.
    """

    def __init__(self, decoder: DeviceDecoder, scale: Scale, decode: Decode, preprocess: Preprocess) -> None:
        self._decoder, self._scale, self._decode, self._preprocess = decoder, scale, decode, preprocess
        self._told = False
        self.size: Final = preprocess.size
        """Side of an input in pixels."""
        red, green, blue = bytes.fromhex(decode.background.removeprefix("#"))
        self._background = (red, green, blue)

    def fill(self, files: Sequence[Undecoded], places: Sequence[int], batch: torch.Tensor) -> Made:
        """Decodes files into some of a batch's places.

        Args:
            files: At least one.
            places: Where in the batch each goes.
            batch: Shape (images, size, size, 3), type uint8, on the device.

        Returns:
            Which went wrong, and which the device has decoded.
        """
        if self._preprocess.resize == "pad":
            batch[...] = torch.tensor(self._background, dtype=torch.uint8).to(batch.device)
        pictures: list[Picture] = []
        how: list[Scaling] = []
        there: list[int] = []
        errors: dict[int, ImageError] = {}
        for file, place, picture in zip(files, places, self._on_device(files), strict=True):
            header = file.header
            scaled = scaling(header.width, header.height, header.orientation, self._preprocess)
            if picture is None or scaled is None or (picture.width, picture.height) != (header.width, header.height):
                try:
                    batch[place] = torch.from_numpy(self._on_cpu(file)).to(batch.device)
                except ImageError as error:
                    errors[place] = error
                continue
            pictures.append(picture)
            how.append(scaled)
            there.append(place)
        if pictures:
            self._scale(pictures, how, batch, there, self._preprocess)
        return Made(errors, frozenset(there))

    def _on_device(self, files: Sequence[Undecoded]) -> list[Picture | None]:
        try:
            return self._decoder.decode([file.data for file in files])
        except Exception as error:
            if is_device_error(error):
                raise
            if not self._told:
                logger.warning("the GPU's decoder fails, and the CPU decodes for it: %s: %s", type(error).__name__, first_line(error))
                self._told = True
            return [None] * len(files)

    def _on_cpu(self, file: Undecoded) -> np.ndarray:
        # At full size: the row says so already.
        return np.array(to_array(decode_here(file.data.tobytes(), self._decode), self._preprocess, self._decode.background))


def inputs_of(device: torch.device, decode: Decode, preprocess: Preprocess) -> Inputs | None:
    """What decodes on a device; None where that cannot be, or is not wanted.

    Raises:
        DeviceError: It was asked for, and cannot be; or the device failed for good when it was tried.
    """
    if decode.device == "cpu":
        return None
    if device.type == "cpu":
        reason = "the model runs on the CPU"
    else:
        try:
            # What is loaded and launched here goes by the current one.
            with torch.cuda.device(device) if torch.cuda.is_available() else nullcontext():
                return _tried(_nvidia(device, decode, preprocess), device, decode, preprocess)
        except Exception as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
            if is_device_error(error) and not is_memory_error(error):
                # CUDA answers everything with that error from now on.
                raise DeviceError(f"the GPU failed when it decoded a trial picture ({reason}); write decode.device: cpu") from error
            logger.info("JPEGs are decoded on the CPU, as the GPU cannot: %s", reason)
    if decode.device == "gpu":
        raise DeviceError(f"decode.device: gpu was asked for and pictures cannot be decoded on the GPU here ({reason}); write auto or cpu")
    return None


def _nvidia(device: torch.device, decode: Decode, preprocess: Preprocess) -> Inputs:
    # Both load what is there only where there is a GPU.
    from imagejob_runner.device.nvimagecodec import NvImageCodec  # noqa: PLC0415
    from imagejob_runner.device.resize import resize  # noqa: PLC0415

    return Inputs(NvImageCodec(device), resize, decode, preprocess)


def _tried(inputs: Inputs, device: torch.device, decode: Decode, preprocess: Preprocess) -> Inputs | None:
    """The same, if a picture comes out as on the CPU.

    Raises:
        ValueError: It does not.
        Exception: What the libraries raise.
    """
    least, most = _TRIAL_PIXELS
    shades = np.linspace(0, 255, min(max(preprocess.size, least), most), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(np.stack(np.broadcast_arrays(shades, shades[:, None], np.uint8(128)), axis=-1)).save(buffer, "JPEG", quality=95)
    data = buffer.getvalue()
    header = header_for_gpu(data, decode, preprocess)
    if header is None:  # of no picture can anything else be said
        return None
    size = preprocess.size
    batch = torch.zeros(1, size, size, 3, dtype=torch.uint8, device=device)
    made = inputs.fill([Undecoded(np.frombuffer(data, np.uint8), header)], [0], batch)
    expected = to_array(decode_here(data, decode), preprocess, decode.background)
    difference = float(np.abs(batch[0].cpu().numpy().astype(np.float32) - expected).mean())
    if not made.decoded or difference > _TRIAL_DIFFERENCE:
        raise ValueError(f"a trial picture was refused, or differs by {difference:.1f} of 255 on average")
    return inputs

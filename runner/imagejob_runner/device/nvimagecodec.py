"""Decoding on NVIDIA GPUs by nvImageCodec, which is installed with the extra ``gpu-cu12`` or ``gpu-cu13``. Loaded where there is a GPU.

Of its decoders only nvJPEG's CUDA one: the GPU's JPEG engine was seen to write beyond its buffer, and what the CPUs decode they decode by
Pillow.
"""

import os
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from imagejob_runner.device.picture import Picture

_OPTIONS: Final = ":fancy_upsampling=1 nvjpeg_cuda_decoder:hybrid_huffman_threshold=0"
"""Chroma is smoothed, as libjpeg does. Entropy decoding is the GPU's, of small pictures too: the CPUs have enough to do."""
_QUIET: Final = "0"

# It says on stderr of every picture that it refuses what the row will say better.
os.environ.setdefault("PYNVIMGCODEC_VERBOSITY", _QUIET)

from nvidia import nvimgcodec  # noqa: E402  it reads the variable when it is loaded


class NvImageCodec:
    """See `DeviceDecoder`.

    Args:
        device: Where to decode.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # nvImageCodec counts nvJPEG's CUDA decoder as hybrid, as its headers are read by the CPU.
        backends = [nvimgcodec.Backend(nvimgcodec.BackendKind.HYBRID_CPU_GPU)]
        self._decoder = nvimgcodec.Decoder(device_id=device.index or 0, backends=backends, options=_OPTIONS)
        self._params = nvimgcodec.DecodeParams(apply_exif_orientation=False, color_spec=nvimgcodec.ColorSpec.SRGB)

    def decode(self, files: Sequence[np.ndarray]) -> list[Picture | None]:
        """See `DeviceDecoder.decode`."""
        stream = torch.cuda.current_stream(self._device).cuda_stream
        return [_picture(image) for image in self._decoder.decode(list(files), params=self._params, cuda_stream=stream)]


def _picture(image: object) -> Picture | None:
    if image is None:
        return None
    found = image.__cuda_array_interface__  # type: ignore[attr-defined]  # nvImageCodec says no types
    height, width, channels = found["shape"]
    row, pixel, _ = found["strides"] or (width * channels, channels, 1)
    # What is not RGB in one piece is not what was asked for.
    # It frees the picture's memory in the order of the stream that it was given.
    return Picture(found["data"][0], width, height, row, image) if (channels, pixel) == (3, 3) else None

"""Tiny networks for whole runs: what they see can be told from what they answer."""

import torch

from tests.process.functions import first_time


class MeanColour(torch.nn.Module):
    """Answers the mean red, green and blue of each image, each from 0 to 1 if the input is."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Shape (batch, 3, side, side) to (batch, 3)."""
        return images.mean(dim=(2, 3))


class FailsOnRed(MeanColour):
    """Cannot stand a batch with a red image in it."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """As MeanColour."""
        colours = super().forward(images)
        if bool(((colours[:, 0] > 0.8) & (colours[:, 1] < 0.2)).any()):
            raise RuntimeError("there is a red image in the batch")
        return colours


class LosesGpuOnRed(FailsOnRed):
    """Has its GPU fail at a red image: each time, or only once if a marker is given."""

    def __init__(self, marker: str) -> None:
        super().__init__()
        self.marker = marker

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """As FailsOnRed."""
        try:
            return super().forward(images)
        except RuntimeError as error:
            if not self.marker or first_time(self.marker):
                raise RuntimeError("CUDA error: an illegal memory access was encountered") from error
            return images.mean(dim=(2, 3))


class OutOfMemory(MeanColour):
    """Has memory for a few images at once only."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """As MeanColour."""
        if len(images) > self.most:
            raise torch.OutOfMemoryError(f"{len(images)} images do not fit")
        return super().forward(images)


def mean_colour() -> torch.nn.Module:
    return MeanColour()


def fails_on_red() -> torch.nn.Module:
    return FailsOnRed()


def loses_gpu_on_red(marker: str = "") -> torch.nn.Module:
    return LosesGpuOnRed(marker)


def out_of_memory(most: int) -> torch.nn.Module:
    return OutOfMemory(most)

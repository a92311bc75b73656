"""The networks that `bench.gpu` measures: torchvision's ResNet-50 on a GPU, a small one where there is none."""

from importlib.util import find_spec
from typing import Any, Final

SIZE: Final = 224
"""Side in pixels of their input."""
CLASSES: Final = 1000


def small() -> Any:  # noqa: ANN401  a torch module; torch is imported only where it is used
    """A network for input of shape (batch, 3, any, any) that costs a CPU little."""
    import torch

    torch.manual_seed(0)
    stem = torch.nn.Conv2d(3, 16, kernel_size=7, stride=8)
    return torch.nn.Sequential(stem, torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, CLASSES))


def architecture(device: str) -> str:
    """The network for a device, as `infer.model.architecture` names it."""
    return "torchvision.models:resnet50" if device == "cuda" and find_spec("torchvision") else f"{__name__}:small"


def build(device: str) -> Any:  # noqa: ANN401  as above
    """The network for a device, on it and ready to predict."""
    if architecture(device).startswith("torchvision"):
        from torchvision.models import resnet50

        return resnet50().eval().to(device)
    return small().eval().to(device)
